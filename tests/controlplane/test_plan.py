"""`redisop plan` as a user runs it, against a real API server."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from redisop.client import Client
from redisop.kinds import INSTANCE
from redisop.settings import Settings
from tests.cluster import ControlPlane, ExistingCluster
from tests.cluster.kubectl import kubectl_path
from tests.converged import converge, install

Cluster: TypeAlias = ControlPlane | ExistingCluster
Redisop: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]


def manifest(name: str = "demo", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": INSTANCE.api_version, "kind": INSTANCE.name, "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def cluster(control_plane: Cluster) -> Cluster:
    install(control_plane)
    return control_plane


@pytest.fixture
def redisop(cluster: Cluster, namespace: str) -> Redisop:
    return _redisop(cluster.kubeconfig, "-n", namespace)


def _redisop(kubeconfig: Path, *always: str) -> Redisop:
    def run(*arguments: str, stdin: str = "", env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "redisop", "plan", *arguments, *always]
        environ = {**os.environ, "KUBECONFIG": str(kubeconfig), **(env or {})}
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, env=environ)

    return run


async def applied(cluster: Cluster, namespace: str, name: str = "demo", **spec: Any) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(manifest(name, **spec)))
    async with Client.connect(cluster.kubeconfig) as client:
        await converge(client, await client.get(INSTANCE, namespace, name), Settings())


async def test_nothing_to_do_is_0_and_asks_nothing_of_the_api_but_reads(own_control_plane, namespace):
    install(own_control_plane)
    await applied(own_control_plane, namespace)
    user = "plan-reader"
    kubeconfig = own_control_plane.kubeconfig_for(user, ["system:masters"])
    shown = _redisop(kubeconfig, "-n", namespace)("demo")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == "No changes: 9 objects as wanted.\n"
    assert {event["verb"] for event in own_control_plane.audit_events(user=user)} <= {"get", "list"}


async def test_a_change_by_hand_has_a_name_a_time_and_a_path(cluster, namespace, redisop):
    await applied(cluster, namespace)
    patch = json.dumps({"spec": {"maxUnavailable": 0}})
    cluster.kubectl("patch", "pdb", "demo-redis", "-n", namespace, "--type=merge", "--field-manager=alice", "-p", patch)
    shown = redisop("demo")
    assert shown.returncode == 1
    assert re.search(r"~ \.spec\.maxUnavailable: 0 → 1  \(by alice at \d{4}-\d\d-\d\dT[\d:]+Z\)", shown.stdout)
    assert shown.stdout.endswith("Plan: 1 to change, 8 unchanged.\n")
    document = json.loads(redisop("demo", "-o", "json").stdout)
    (step,) = [step for step in document["plans"][0]["steps"] if step["action"] != "unchanged"]
    (change,) = step["changes"]
    assert (change["path"], change["old"], change["new"], change["manager"]) == (".spec.maxUnavailable", 0, 1, "alice")


async def test_a_changed_secret_is_noticed_and_never_shown(cluster, namespace, redisop):
    await applied(cluster, namespace)
    patch = json.dumps({"stringData": {"users.acl": "user default on nopass # planted-secret"}})
    cluster.kubectl("patch", "secret", "demo-redis-acl", "-n", namespace, "--type=merge", "-p", patch)
    for arguments in ([], ["--diff"], ["-o", "json"], ["-o", "yaml"], ["--show-unchanged"]):
        shown = redisop("demo", *arguments)
        assert shown.returncode == 1
        assert "demo-redis-acl" in shown.stdout
        assert "planted-secret" not in shown.stdout + shown.stderr
        assert "cGxhbnRlZ" not in shown.stdout + shown.stderr
        password = json.loads(
            cluster.kubectl("get", "secret", "demo-redis-credentials", "-n", namespace, "-o", "json").stdout
        )["data"]["operator-password"]
        assert password not in shown.stdout


async def test_what_is_not_ours_is_a_conflict_and_is_left_alone(cluster, namespace, redisop):
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "demo-redis", "namespace": namespace},
            "spec": {"ports": [{"port": 1}]},
        }
    )
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(manifest()))
    shown = redisop("demo")
    assert shown.returncode == 1
    assert re.search(r"!\s+conflict\s+Service/demo-redis\n\s+NameConflict: .*no controller owner", shown.stdout)


async def test_a_child_without_its_labels_is_found_by_its_name(cluster, namespace, redisop):
    await applied(cluster, namespace)
    label = "app.kubernetes.io/managed-by"
    cluster.kubectl("label", "service", "demo-redis", "-n", namespace, f"{label}-", "redis.kubegateway.io/instance-")
    shown = redisop("demo")
    assert shown.returncode == 1
    assert f'+ .metadata.labels.{label}: "redisop"' in shown.stdout
    assert shown.stdout.endswith("Plan: 1 to change, 8 unchanged.\n")


async def test_a_file_is_planned_as_the_server_would_take_it(cluster, namespace, redisop):
    await applied(cluster, namespace, redisConfig={"memory": "64Mi", "maxmemoryPolicy": "allkeys-lru"})
    # A file that no longer mentions the policy means its default, whoever set it before.
    smaller = manifest(redisConfig={"memory": "128Mi", "parameters": {"databases": 4}})
    foreign = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "not-ours"}}
    shown = redisop("-f", "-", stdin=f"{yaml.safe_dump(foreign)}---\n{yaml.safe_dump(smaller)}")
    assert shown.returncode == 1
    assert "ignored 1 object(s) of other kinds: ConfigMap ×1" in shown.stderr
    assert "then, without a restart: CONFIG SET maxmemory-policy noeviction (now allkeys-lru)" in shown.stdout
    assert "then, without a restart: CONFIG SET maxmemory 134217728 (now 67108864)" in shown.stdout
    assert '.spec.template.spec.containers[name="redis"].resources.limits.memory' in shown.stdout
    live = cluster.get("rhi", "demo", "-n", namespace)
    assert live["spec"]["redisConfig"]["maxmemoryPolicy"] == "allkeys-lru"


async def test_the_server_refuses_what_only_its_rules_know(cluster, namespace, redisop):
    await applied(cluster, namespace, redisConfig={"persistence": True}, storage={"size": "2Gi"})
    smaller = manifest(redisConfig={"persistence": True}, storage={"size": "1Gi"})
    shown = redisop("-f", "-", stdin=yaml.safe_dump(smaller))
    assert shown.returncode == 2
    assert "storage.size" in shown.stderr
    assert "cannot shrink" in shown.stderr
    assert shown.stdout == ""


async def test_all_instances_of_all_namespaces(cluster, namespace):
    await applied(cluster, namespace, "one")
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(manifest("two")))
    shown = _redisop(cluster.kubeconfig)("--all", "-o", "json")
    assert shown.returncode == 1
    plans = {(plan["for"]["namespace"], plan["for"]["name"]): plan for plan in json.loads(shown.stdout)["plans"]}
    assert plans[namespace, "one"]["empty"]
    assert not plans[namespace, "two"]["empty"]


async def test_paused_and_deleted_instances_say_why_nothing_happens(cluster, namespace, redisop):
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(manifest(paused=True)))
    shown = redisop("demo")
    assert shown.returncode == 0
    assert "paused" in shown.stdout


def test_a_cluster_without_the_crds_and_the_namespace():
    with ControlPlane.start(scheduler=False) as bare:
        run = _redisop(bare.kubeconfig)
        shown = run("-f", "-", stdin=yaml.safe_dump(manifest()))
        assert shown.returncode == 1
        assert "planned from the file alone" in shown.stderr
        assert shown.stdout.endswith("Plan: 9 to create.\n")
        missing = run("demo")
        assert missing.returncode == 2
        assert "gen-crds" in missing.stderr
        install(bare)
        nowhere = run("-f", "-", "-n", "nowhere", stdin=yaml.safe_dump(manifest()))
        assert nowhere.returncode == 1
        assert "nowhere" in nowhere.stderr
        unknown = run("demo")
        assert unknown.returncode == 2
        assert "demo" in unknown.stderr
        assert "gen-crds" not in unknown.stderr


def test_an_unreachable_or_unreadable_cluster_is_an_error(tmp_path):
    missing = _redisop(tmp_path / "none")("demo")
    assert missing.returncode == 2
    assert "none" in missing.stderr
    broken = tmp_path / "broken"
    broken.write_text("clusters: [")
    assert _redisop(broken)("demo").returncode == 2
    gone = tmp_path / "gone"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "u", "user": {}}],
    }
    gone.write_text(yaml.safe_dump(config))
    shown = _redisop(gone)("demo")
    assert shown.returncode == 2
    assert "127.0.0.1:9" in shown.stderr or "connect" in shown.stderr.lower()
    assert "Traceback" not in shown.stderr


async def test_kubectl_redisop_is_the_same_command(cluster, namespace, tmp_path):
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"]["kubectl-redisop"] == project["scripts"]["redisop"] == "redisop.cli:main"
    await applied(cluster, namespace)
    plugin = tmp_path / "kubectl-redisop"
    # What pip makes of the entry point.
    plugin.write_text(f"#!{sys.executable}\nimport sys\nfrom redisop.cli import main\nsys.exit(main())\n")
    plugin.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(Path(__file__).parents[2])}
    run = partial(_kubectl_redisop, {**environ, "KUBECONFIG": str(cluster.kubeconfig)})
    shown = run("plan", "demo", "-n", namespace)
    assert (shown.returncode, shown.stdout) == (0, "No changes: 9 objects as wanted.\n")
    assert "Usage: kubectl redisop [OPTIONS]" in run("--help").stdout


def _kubectl_redisop(environ: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(kubectl_path()), "redisop", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environ})
