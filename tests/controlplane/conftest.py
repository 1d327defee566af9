"""What the tests of the running operator share: its own user, a fake kubelet, and the namespace of each test."""

import secrets
import subprocess
import time

import pytest

from redisop.client import Client
from tests.controlplane import operator_process
from tests.controlplane.world import World
from tests.converged import install
from tests.programs import redis_server


@pytest.fixture(scope="module")
def operator_user(own_control_plane):
    """The CRDs, and a user for one module's operator, so that the audit log tells its requests from all others."""
    install(own_control_plane)
    user = f"redisop-{secrets.token_hex(4)}"
    own_control_plane.kubectl("create", "clusterrolebinding", user, "--clusterrole=cluster-admin", f"--user={user}")
    return user


@pytest.fixture(scope="module")
def pod_ip(tmp_path_factory):
    """An address on loopback where one real redis-server stands for the Redis of every instance.

    It lets the operator in with any password, since each instance has its own; logins are tried in tests/redis.
    """
    server = redis_server()
    folder = tmp_path_factory.mktemp("redis")
    (folder / "users.acl").write_text("user default off\nuser operator on nopass ~* &* +@all\n")
    address = f"127.{secrets.randbelow(200) + 10}.{secrets.randbelow(250)}.{secrets.randbelow(250) + 1}"
    arguments = ["--bind", address, "--port", "6379", "--aclfile", str(folder / "users.acl"), "--dir", str(folder)]
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen([server, *arguments, "--save", ""], stdout=output, stderr=subprocess.STDOUT)
    try:
        for _ in range(100):
            if "Ready to accept" in (folder / "log").read_text():
                break
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def kubelet(own_control_plane, pod_ip, tmp_path_factory):
    log = tmp_path_factory.mktemp("kubelet") / "log"
    with operator_process.fake_kubelet(own_control_plane.kubeconfig, log, "--pod-ip", pod_ip) as process:
        yield process


@pytest.fixture(scope="module")
def operator(own_control_plane, operator_user, tmp_path_factory):
    """`redisop run` for all namespaces."""
    log = tmp_path_factory.mktemp("operator") / "log"
    with operator_process.operator(own_control_plane.kubeconfig_for(operator_user), log, "-v") as process:
        yield process


@pytest.fixture
async def world(own_control_plane, namespace, operator_user):
    async with Client.connect(own_control_plane.kubeconfig) as client:
        yield World(own_control_plane, namespace, client, operator_user)
