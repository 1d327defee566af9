"""The steps of the demo, in order; a step's docstring is what the user reads first."""

import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cluster.kubectl import kubectl_path
from tests.converged import install as install_crds
from tests.demo.place import Place
from tests.demo.terminal import Failed, Terminal

SAMPLE = Path(__file__).resolve().parents[2] / "kustomize" / "samples" / "instance.yaml"
CHILDREN = "statefulset,pod,service,configmap,secret,serviceaccount,networkpolicy,poddisruptionbudget"
OURS = "app.kubernetes.io/managed-by=redisop"
PATIENCE = 180.0
"""Seconds for what the cluster has to do: pulling an image in a cloud takes its time."""


class Story:
    """What the steps share: the terminal, the place, a namespace, and the operator's process."""

    def __init__(self, terminal: Terminal, place: Place) -> None:
        self.terminal = terminal
        self.place = place
        self.namespace = f"redisop-demo-{secrets.token_hex(3)}"
        self.env = {"KUBECONFIG": str(place.cluster.kubeconfig), **place.settings}
        self._operator: subprocess.Popen[bytes] | None = None
        self._crds_were_there = self._crds_exist()
        self._log = tempfile.NamedTemporaryFile(prefix="redisop-demo-", suffix=".log")  # noqa: SIM115 - closed in __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is Failed:
            self.terminal.say("The operator's last words:\n" + "".join(self.log()[-20:]))
        self.stop_operator()
        self.place.cluster.kubectl(
            "delete", "namespace", self.namespace, "--ignore-not-found", f"--timeout={PATIENCE}s", check=False
        )
        if not self._crds_were_there:
            names = ["redishttpinstances.redis.kubegateway.io", "apikeys.redis.kubegateway.io"]
            self.place.cluster.kubectl("delete", "crd", *names, "--ignore-not-found", check=False)
        self._log.close()

    def redisop(self, *arguments: str, expect: int = 0, quiet: bool = False) -> str:
        command = [sys.executable, "-m", "redisop", *arguments, "-n", self.namespace]
        return self.terminal.run(f"redisop {' '.join(arguments)}", command, env=self.env, expect=expect, quiet=quiet)

    def kubectl(self, *arguments: str, quiet: bool = False, stdin: str | None = None) -> str:
        command = [str(kubectl_path()), "-n", self.namespace, *arguments]
        shown = f"kubectl {shlex.join(arguments)}"
        return self.terminal.run(shown, command, env=self.env, quiet=quiet, stdin=stdin)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.place.cluster.kubectl("get", *arguments, "-n", self.namespace, "-o", "json").stdout)

    def redis_cli(self, *arguments: str) -> str:
        """Run redis-cli in the Pod as the user `operator`."""
        password = self.get("secret", "demo-redis-credentials")["data"]["operator-password"]
        script = 'read -r p; REDISCLI_AUTH=$(printf %s "$p" | base64 -d) exec redis-cli --user operator "$@"'
        command = [str(kubectl_path()), "-n", self.namespace, "exec", "-i", "demo-redis-0", "-c", "redis", "--"]
        command += ["sh", "-c", script, "redis-cli", *arguments]
        return self.terminal.run(f"redis-cli {shlex.join(arguments)}", command, env=self.env, stdin=f"{password}\n")

    def versions(self) -> dict[str, str]:
        """Return the resourceVersion of every child, by Kind/name."""
        items = self.get(f"{CHILDREN},pvc", "-l", OURS)["items"]
        return {f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"] for item in items}

    def start_operator(self) -> None:
        command = [
            sys.executable,
            "-m",
            "redisop",
            "run",
            "--namespace",
            self.namespace,
            "--lease-namespace",
            self.namespace,
        ]
        self.terminal.command(f"redisop run --namespace {self.namespace} &")
        with Path(self._log.name).open("ab") as log:
            self._operator = subprocess.Popen(command, env={**os.environ, **self.env}, stdout=log, stderr=log)

    def stop_operator(self) -> None:
        if self._operator is None:
            return
        self._operator.send_signal(signal.SIGTERM)
        try:
            self._operator.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._operator.kill()
            self._operator.wait()
        self._operator = None

    def log(self) -> list[str]:
        return Path(self._log.name).read_text().splitlines(keepends=True)

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            if self._operator is not None and self._operator.poll() is not None:
                raise Failed(f"the operator exited with {self._operator.returncode}")
            if time.monotonic() > deadline:
                raise Failed(f"waited {PATIENCE:.0f} s in vain until {what}")
            time.sleep(0.1)

    def _crds_exist(self) -> bool:
        return (
            self.place.cluster.kubectl("get", "crd", "redishttpinstances.redis.kubegateway.io", check=False).returncode
            == 0
        )


def install(story: Story) -> None:
    """Install the two resources

    Their schemas come from the models in redisop/api; the rules in them hold without any webhook.
    """
    story.terminal.command("redisop gen-crds -o - | kubectl apply --server-side -f -")
    install_crds(story.place.cluster)
    story.kubectl("get", "crd", "redishttpinstances.redis.kubegateway.io", "apikeys.redis.kubegateway.io")
    restricted = "pod-security.kubernetes.io/enforce=restricted"
    story.place.cluster.kubectl("create", "namespace", story.namespace)
    story.place.cluster.kubectl("label", "namespace", story.namespace, restricted)
    story.terminal.say(f"namespace {story.namespace}, which enforces restricted Pod security")


def plan_before(story: Story) -> None:
    """The plan, before anything exists

    Exactly what the operator will do; a password that does not exist yet is (generated), never shown.
    """
    story.redisop(
        "plan",
        "-f",
        os.path.relpath(SAMPLE),
        expect=1,
    )


def bad_input(story: Story) -> None:
    """A mistake is named before anything changes"""
    broken = SAMPLE.read_text().replace("memory: 64Mi", "memory: 64MB")
    command = [sys.executable, "-m", "redisop", "plan", "-f", "-", "-n", story.namespace]
    story.terminal.run(
        "sed s/64Mi/64MB/ instance.yaml | redisop plan -f -", command, env=story.env, expect=2, stdin=broken
    )


def create(story: Story) -> None:
    """Start the operator and apply the instance

    Each line is a condition of the instance's status as it changes.
    """
    story.start_operator()
    story.kubectl("apply", "-f", os.path.relpath(SAMPLE))
    seen: dict[str, tuple[str, str]] = {}

    def settled() -> bool:
        instance = story.get("rhi", "demo")
        conditions = {c["type"]: c for c in instance.get("status", {}).get("conditions", ())}
        for name, condition in sorted(conditions.items()):
            state = (condition["status"], condition["reason"])
            if seen.get(name) != state:
                seen[name] = state
                story.terminal.say(f"{name:<15} {state[0]:<8} {state[1]:<20} {condition.get('message', '')}")
        ready = conditions.get("Ready", {})
        if story.place.pods:
            return bool(ready.get("status") == "True")
        return "Ready" in conditions and len(story.get("statefulset", "-l", OURS)["items"]) == 1

    story.until("the instance is Ready", settled)
    if not story.place.pods:
        story.terminal.say("No kubelet here, so no Pod starts and Ready stays False: the status says so.")
    story.kubectl("get", "rhi")
    story.kubectl("get", CHILDREN, "-l", OURS)


def round_trip(story: Story) -> None:
    """SET and GET in the real Pod"""
    if not story.place.pods:
        story.terminal.say("Skipped: needs a node (run as root).")
        return
    story.terminal.say("The operator's password goes through stdin: never in argv, where any process could read it.")
    story.terminal.say(
        "(kubectl exec … redis-cli --user operator; the password goes through stdin, never through argv)"
    )
    story.redis_cli("SET", "greeting", "hello from redisop")
    if "hello from redisop" not in story.redis_cli("GET", "greeting"):
        raise Failed("GET did not return what SET stored")


def drift(story: Story) -> None:
    """Somebody changes something by hand

    The operator is stopped for a moment, or it would have repaired this before you could look.
    """
    story.stop_operator()
    patch = json.dumps({"spec": {"maxUnavailable": 0}})
    story.kubectl("patch", "pdb", "demo-redis", "--type=merge", "--field-manager=alice-by-hand", "-p", patch)
    said = story.redisop("plan", "demo", expect=1)
    if "alice-by-hand" not in said:
        raise Failed("the plan does not name who did it")


def repair(story: Story) -> None:
    """The operator comes back, repairs that one field, and writes nothing else"""
    before = story.versions()
    story.start_operator()
    story.until("the field is repaired", lambda: story.get("pdb", "demo-redis")["spec"]["maxUnavailable"] == 1)
    story.until("the plan is empty", lambda: _plan_code(story) == 0)
    after = story.versions()
    changed = [name for name in before if before[name] != after.get(name)]
    story.terminal.say(f"objects whose resourceVersion changed: {', '.join(changed)}")
    if changed != ["PodDisruptionBudget/demo-redis"]:
        raise Failed("the repair changed something else")
    story.redisop("plan", "demo")


def change_live(story: Story) -> None:
    """Change the instance: less memory, another eviction policy

    Redis can take both while it runs; the plan says so, and the data stays.
    """
    _change(story, {"memory": "48Mi", "maxmemoryPolicy": "allkeys-lru"})
    if story.place.pods:
        limit = story.redis_cli("CONFIG", "GET", "maxmemory")
        if "50331648" not in limit or "hello from redisop" not in story.redis_cli("GET", "greeting"):
            raise Failed("the change is not in effect, or the data is gone")


def change_with_restart(story: Story) -> None:
    """Change the instance: a directive that Redis reads only at start

    The plan says that the Pod restarts, and why. The data is on the claim.
    """
    _change(story, {"parameters": {"databases": 4}})
    if story.place.pods:
        databases = story.redis_cli("CONFIG", "GET", "databases")
        if "4" not in databases.split() or "hello from redisop" not in story.redis_cli("GET", "greeting"):
            raise Failed("the change is not in effect, or the data is gone")


def delete(story: Story) -> None:
    """Delete the instance: garbage collection takes the children, the data stays until you say otherwise"""
    story.kubectl("delete", "rhi", "demo")
    story.until("the children are gone", lambda: not story.get(CHILDREN, "-l", OURS)["items"])
    story.kubectl("get", CHILDREN, "-l", OURS)
    story.kubectl("get", "pvc")
    story.terminal.say(
        "storage.reclaimPolicy is Retain by default, so the claim outlives the instance. Here it goes with the namespace."
    )
    story.kubectl("delete", "pvc", "--all", "--wait=false")


STEPS: tuple[Callable[[Story], None], ...] = (
    install,
    plan_before,
    bad_input,
    create,
    round_trip,
    drift,
    repair,
    change_live,
    change_with_restart,
    delete,
)


def _change(story: Story, config: dict[str, Any]) -> None:
    story.stop_operator()
    story.kubectl("patch", "rhi", "demo", "--type=merge", "-p", json.dumps({"spec": {"redisConfig": config}}))
    story.redisop("plan", "demo", expect=1)
    story.start_operator()
    story.until("the plan is empty", lambda: _plan_code(story) == 0)
    if not story.place.pods:
        return

    def in_effect() -> bool:
        instance = story.get("rhi", "demo")
        conditions = {c["type"]: c for c in instance["status"]["conditions"]}
        current = instance["status"]["observedGeneration"] == instance["metadata"]["generation"]
        return current and all(conditions.get(name, {}).get("status") == "True" for name in ("Ready", "ConfigApplied"))

    story.until("the change is in effect", in_effect)
    story.until("nothing is left to do", lambda: _plan_code(story) == 0)
    story.kubectl("get", "rhi")


def _plan_code(story: Story) -> int:
    command = [sys.executable, "-m", "redisop", "plan", "demo", "-n", story.namespace]
    return subprocess.run(command, env={**os.environ, **story.env}, capture_output=True, check=False).returncode
