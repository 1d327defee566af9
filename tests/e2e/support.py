"""What the end-to-end tests share: the operator as a process of its own, and a namespace with one instance in it."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.cluster import ControlPlane
from tests.cluster.node import BASE, EXPORTER, REDIS

PATIENCE = 90.0
"""Seconds for what the cluster has to do. Nothing here asserts how fast it is."""
NO_REGISTRY = "localhost:1/redis:nope"
"""An image that no registry has: nobody listens on that port of a node."""
SETTINGS = {
    "REDISOP_DEFAULT_VERSION": REDIS.rpartition(":")[2],
    "REDISOP_EXPORTER_IMAGE": EXPORTER,
    "REDISOP_IMAGE_ALLOW_LIST": f"{REDIS},{BASE},{NO_REGISTRY}",
}
Result = TypeVar("Result")


def eventually(check: Callable[[], Result], what: str, patience: float = PATIENCE) -> Result:
    """Return the first result of `check` that counts as true."""
    deadline = time.monotonic() + patience
    while not (found := check()):
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.2)
    return found


class Operator:
    """`redisop run` against a cluster, with its log in a file."""

    def __init__(self, cluster: ControlPlane, log: Path) -> None:
        self.env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), **SETTINGS}
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as out:
            # Other tests run operators on this machine too, and this one is alone in its cluster.
            alone = ["--no-leader-election", "--health-port", "0", "--metrics-port", "0"]
            command = [sys.executable, "-m", "redisop", "run", *alone]
            self._process = subprocess.Popen(command, env=self.env, stdout=out, stderr=out)

    def stop(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(20)
        finally:
            self._process.kill()
            self._process = None

    def check(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-4000:]


class Team:
    """A namespace with an instance named `demo`."""

    def __init__(self, cluster: ControlPlane, operator: Operator, namespace: str) -> None:
        self.cluster = cluster
        self.operator = operator
        self.namespace = namespace

    def kubectl(self, *arguments: str, **more: Any) -> str:
        return str(self.cluster.kubectl("-n", self.namespace, *arguments, **more).stdout)

    def apply(self, **spec: Any) -> None:
        """Apply the instance with this spec, and nothing of an earlier one."""
        self.cluster.apply(self.manifest(**spec))

    def manifest(self, **spec: Any) -> dict[str, Any]:
        return {
            "apiVersion": "redis.kubegateway.io/v1alpha1",
            "kind": "RedisHttpInstance",
            "metadata": {"name": "demo", "namespace": self.namespace},
            "spec": spec,
        }

    def plan(self, **spec: Any) -> tuple[int, str]:
        """Return exit code and text of `redisop plan` for this spec."""
        command = [sys.executable, "-m", "redisop", "plan", "-n", self.namespace, "-f", "-"]
        done = subprocess.run(
            command,
            env=self.operator.env,
            input=json.dumps(self.manifest(**spec)),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def get(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def exists(self, kind: str, name: str) -> bool:
        return self.kubectl("get", kind, name, "--ignore-not-found", "-o", "name").strip() != ""

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("rhi", "demo").get("status", {})
        return found

    def condition(self, kind: str) -> Mapping[str, Any]:
        """Return the condition of the present generation; empty where there is none yet."""
        instance = self.get("rhi", "demo")
        return next(
            (
                it
                for it in instance.get("status", {}).get("conditions", ())
                if it["type"] == kind and it["observedGeneration"] == instance["metadata"]["generation"]
            ),
            {},
        )

    def wait_ready(self) -> None:
        """Wait as a user does, with kubectl."""
        self.cluster.kubectl(
            "wait",
            "--for=condition=Ready",
            "rhi/demo",
            "-n",
            self.namespace,
            f"--timeout={PATIENCE:.0f}s",
            timeout=PATIENCE + 10,
        )

    def wait_reason(self, reason: str, kind: str = "Ready") -> Mapping[str, Any]:
        """Wait until a condition that is not as it should be gives this reason."""

        def check() -> Mapping[str, Any]:
            found = self.condition(kind)
            return found if found.get("reason") == reason else {}

        try:
            return eventually(check, f"{kind} because of {reason}")
        except AssertionError:
            raise AssertionError(f"{kind} is {self.condition(kind)}, not {reason}") from None

    def pod_uid(self) -> str:
        uid: str = self.get("pod", "demo-redis-0")["metadata"]["uid"]
        return uid

    def password(self, user: str = "operator") -> str:
        data = self.get("secret", "demo-redis-credentials")["data"]
        return base64.b64decode(data[f"{user}-password"]).decode()

    def redis(self, host: str | None = None) -> redis.Redis:
        """Return a client of the Pod, or of the Service's address where `host` is given."""
        return redis.Redis(
            host=host or self.get("pod", "demo-redis-0")["status"]["podIP"],
            username="operator",
            password=self.password(),
            decode_responses=True,
            socket_timeout=5,
            retry=Retry(NoBackoff(), 0),
        )

    def directive(self, name: str) -> str:
        (value,) = self.redis().config_get(name).values()
        assert value is not None
        return value
