"""The node itself: what the end-to-end tests stand on. Needs root."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.cluster import ControlPlane
from tests.cluster.kubectl import kubectl_path
from tests.cluster.node import BASE, REDIS, Node, base_image
from tests.cluster.reaper import PREFIX, marked

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("node")]


def redis_pod(name, **spec):
    container = {
        "name": "redis",
        "image": REDIS,
        "ports": [{"containerPort": 6379}],
        "readinessProbe": {"exec": {"command": ["redis-cli", "ping"]}, "periodSeconds": 1},
        "args": ["redis-server", "--protected-mode", "no", "--save", ""],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1, **spec},
    }


def service(name, **spec):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 6379}], **spec},
    }


def apply(cluster, namespace, *objects):
    cluster.apply(*({**o, "metadata": {**o["metadata"], "namespace": namespace}} for o in objects))


def wait_ready(cluster, namespace, pod, timeout="60s"):
    cluster.kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "-n", namespace, f"--timeout={timeout}")


def ping(host, port):
    with closing(socket.create_connection((host, port), timeout=5)) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(100)


def answers(host, port):
    with closing(socket.socket()) as connection:
        return connection.connect_ex((host, port)) == 0


def eventually(check, timeout=30.0):
    deadline = time.monotonic() + timeout
    while not check():
        assert time.monotonic() < deadline, "not true in time"
        time.sleep(0.1)


@pytest.fixture
def redis(own_control_plane, namespace):
    """A Ready Redis with a Service of the same name."""
    apply(own_control_plane, namespace, redis_pod("redis"), service("redis"))
    wait_ready(own_control_plane, namespace, "redis")
    return "redis"


def test_a_pod_reaches_another_by_the_name_of_its_service(own_control_plane, namespace, redis):
    apply(own_control_plane, namespace, redis_pod("client"))
    wait_ready(own_control_plane, namespace, "client")
    for host in (redis, f"{redis}.{namespace}.svc.cluster.local"):
        answer = own_control_plane.kubectl("exec", "-n", namespace, "client", "--", "redis-cli", "-h", host, "ping")
        assert answer.stdout == "PONG\n"


def test_a_pod_reaches_itself_by_its_service(own_control_plane, namespace, redis):
    answer = own_control_plane.kubectl("exec", "-n", namespace, redis, "--", "redis-cli", "-h", redis, "ping")
    assert answer.stdout == "PONG\n"


def test_this_machine_reaches_pods_and_services(own_control_plane, namespace, redis):
    pod_ip = own_control_plane.get("pod", redis, "-n", namespace)["status"]["podIP"]
    service_ip = own_control_plane.get("service", redis, "-n", namespace)["spec"]["clusterIP"]
    assert ping(pod_ip, 6379) == b"+PONG\r\n"
    assert ping(service_ip, 6379) == b"+PONG\r\n"


def test_logs_and_port_forward(own_control_plane, namespace, redis):
    assert "Ready to accept connections" in own_control_plane.kubectl("logs", "-n", namespace, redis).stdout
    argv = [kubectl_path(), "--kubeconfig", own_control_plane.kubeconfig, "port-forward", "-n", namespace]
    with subprocess.Popen([*argv, f"pod/{redis}", ":6379"], stdout=subprocess.PIPE, text=True) as forward:
        try:
            assert forward.stdout is not None
            port = int(forward.stdout.readline().split(" -> ")[0].rpartition(":")[2])
            assert ping("127.0.0.1", port) == b"+PONG\r\n"
        finally:
            forward.terminate()


def test_a_pod_asks_the_apiserver_with_its_service_account(node, own_control_plane, namespace):
    script = """
import json, ssl, urllib.error, urllib.request
base = "/var/run/secrets/kubernetes.io/serviceaccount/"
tls = ssl.create_default_context(cafile=base + "ca.crt")
token = open(base + "token").read()
request = urllib.request.Request("https://kubernetes.default.svc/api/v1/nodes", headers={"Authorization": "Bearer " + token})
try:
    urllib.request.urlopen(request, context=tls, timeout=10)
except urllib.error.HTTPError as error:
    print(json.load(error)["message"])
"""
    node.import_image(base_image.archive())
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "asks"},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "c", "image": BASE, "command": ["python3", "-c", script]}],
        },
    }
    apply(own_control_plane, namespace, pod)
    own_control_plane.kubectl(
        "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/asks", "-n", namespace, "--timeout=60s"
    )
    said = own_control_plane.kubectl("logs", "-n", namespace, "asks").stdout
    assert f'User "system:serviceaccount:{namespace}:default" cannot list resource "nodes"' in said


def stateful_redis(storage_class="local"):
    container = {
        "name": "redis",
        "image": REDIS,
        "args": ["redis-server", "--appendonly", "yes", "--dir", "/data"],
        "readinessProbe": {"exec": {"command": ["redis-cli", "ping"]}, "periodSeconds": 1},
        "securityContext": {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    pod = {
        "containers": [container],
        "terminationGracePeriodSeconds": 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 999,
            "runAsGroup": 999,
            "fsGroup": 999,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db"},
        "spec": {
            "serviceName": "db",
            "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": pod},
            "volumeClaimTemplates": [claim],
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
        },
    }


def test_a_restricted_redis_keeps_its_data_and_its_claim_grows(own_control_plane, namespace):
    cluster = own_control_plane
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    apply(cluster, namespace, stateful_redis())
    cluster.kubectl("wait", "--for=create", "pod/db-0", "-n", namespace, "--timeout=30s")
    wait_ready(cluster, namespace, "db-0")

    def redis_cli(*args):
        return cluster.kubectl("exec", "-n", namespace, "db-0", "--", "redis-cli", *args).stdout

    assert cluster.kubectl("exec", "-n", namespace, "db-0", "--", "id", "-u").stdout == "999\n"
    read_only = cluster.kubectl("exec", "-n", namespace, "db-0", "--", "touch", "/etc/x", check=False)
    assert "Read-only file system" in read_only.stderr
    assert redis_cli("set", "k", "v") == "OK\n"
    cluster.kubectl("delete", "pod", "db-0", "-n", namespace)
    cluster.kubectl("wait", "--for=create", "pod/db-0", "-n", namespace, "--timeout=30s")
    wait_ready(cluster, namespace, "db-0")
    assert redis_cli("get", "k") == "v\n"

    claim = cluster.get("pvc", "data-db-0", "-n", namespace)
    patch = json.dumps({"spec": {"resources": {"requests": {"storage": "2Gi"}}}})
    cluster.kubectl("patch", "pvc", "data-db-0", "-n", namespace, "-p", patch)
    cluster.kubectl(
        "wait", "--for=jsonpath={.status.capacity.storage}=2Gi", "pvc/data-db-0", "-n", namespace, "--timeout=30s"
    )
    volume = cluster.get("pv", claim["spec"]["volumeName"])
    assert volume["spec"]["capacity"] == {"storage": "2Gi"}
    smaller = cluster.kubectl(
        "patch", "pvc", "data-db-0", "-n", namespace, "-p", patch.replace("2Gi", "1Gi"), check=False
    )
    assert "field can not be less than" in smaller.stderr

    folder = Path(volume["spec"]["local"]["path"])
    assert folder.is_dir()
    cluster.kubectl("delete", "statefulset", "db", "-n", namespace)
    eventually(lambda: not folder.exists())
    cluster.kubectl("wait", "--for=delete", f"pv/{volume['metadata']['name']}", "--timeout=30s")


def test_a_class_without_expansion_refuses_growth(own_control_plane, namespace):
    cluster = own_control_plane
    apply(cluster, namespace, stateful_redis("local-fixed"))
    cluster.kubectl("wait", "--for=create", "pod/db-0", "-n", namespace, "--timeout=30s")
    wait_ready(cluster, namespace, "db-0")
    patch = json.dumps({"spec": {"resources": {"requests": {"storage": "2Gi"}}}})
    refused = cluster.kubectl("patch", "pvc", "data-db-0", "-n", namespace, "-p", patch, check=False)
    assert "only dynamically provisioned pvc can be resized" in refused.stderr


def traces(name):
    """What the node called `name` has changed on this machine, in words."""
    links = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    cgroups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{name}")]
    return [
        line for line in [*links.splitlines(), *tables.splitlines(), *routes.splitlines(), *cgroups] if name in line
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_the_owner_its_pods_end_and_nothing_is_left(tmp_path, number):
    """Beside the session's node, so this is also two nodes on one machine."""
    script = (
        "import json, time\n"
        "from tests.cluster import ControlPlane\n"
        "from tests.cluster.node import Node\n"
        "with ControlPlane.start() as cluster, Node.start(cluster) as node:\n"
        "    print(cluster.data_dir, flush=True)\n"
        "    time.sleep(100)\n"
    )
    said = tmp_path / "stderr"
    with tempfile.TemporaryDirectory(prefix="owned-") as folder, said.open("w") as stderr:
        own_tmp = Path(folder)
        mounts = Path("/proc/self/mountinfo").read_text()
        owner = subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "TMPDIR": str(own_tmp)},
        )
        with owner:
            assert owner.stdout is not None
            data_dir = Path(owner.stdout.readline().strip())
            assert data_dir.name.startswith(PREFIX), said.read_text()
            name = (data_dir / "node-name").read_text()
            assert len(traces(name)) > 4
            pods = coredns_of(data_dir)
            assert pods
            owner.send_signal(number)
            owner.wait(60)
        eventually(lambda: not data_dir.exists())
        assert marked(data_dir) == []
        assert not [pid for pid in pods if Path(f"/proc/{pid}").exists()]
        assert traces(name) == []
        assert Path("/proc/self/mountinfo").read_text() == mounts
        assert list(own_tmp.iterdir()) == []


def coredns_of(data_dir):
    """Processes of the node's DNS pod."""
    name = (data_dir / "node-name").read_text()
    lists = Path("/sys/fs/cgroup").glob(f"**/{name}/**/cgroup.procs")
    pids = {pid for each in lists for pid in each.read_text().split()}
    return [pid for pid in pids if b"/coredns" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_pods_outlive_a_kubelet_that_crashes():
    with ControlPlane.start() as cluster, Node.start(cluster, images=[]) as other:
        before = coredns_of(cluster.data_dir)
        other.kubelet.kill()
        assert coredns_of(cluster.data_dir) == before
        other.kubelet.start()
        other.kubelet.wait_for("its server", lambda: answers(cluster.addresses.node, 10250))
        assert coredns_of(cluster.data_dir) == before


def test_a_node_can_stop_and_its_control_plane_goes_on(node):
    with ControlPlane.start() as cluster:
        with Node.start(cluster, images=[]) as other:
            assert other.name != node.name
            assert [n["metadata"]["name"] for n in cluster.get("nodes")["items"]] == [other.name]
        assert cluster.get("nodes")["items"] == []
