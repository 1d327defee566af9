"""Metrics, probes and logs of the operator process, as Prometheus, a kubelet and a log collector see them."""

import base64
import json
import re
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from redisop.kinds import INSTANCE, SECRET, Ref
from tests.cluster.addresses import free_ports
from tests.controlplane import operator_process
from tests.controlplane.promtool import promtool

pytestmark = pytest.mark.timeout(300)

PLANTED = "hunter2-planted-in-a-secret"


def get(port, path, token=None):
    """Return (status, body)."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


class Served:
    """A running operator and its ports."""

    def __init__(self, process, health, metrics):
        self.process = process
        self.health = health
        self.metrics = metrics

    def scrape(self, token):
        status, text = get(self.metrics, "/metrics", token)
        assert status == 200, text
        return text

    def log(self):
        return [json.loads(line) for line in self.process.output.splitlines()]


@pytest.fixture(scope="module")
def served(own_control_plane, operator_user, tmp_path_factory):
    health, metrics = free_ports(2)
    log = tmp_path_factory.mktemp("operator") / "log"
    arguments = ["--health-port", str(health), "--metrics-port", str(metrics), "--bind", "127.0.0.1"]
    arguments += ["--lease-namespace", "default", "--lease-name", operator_user, "--log-level", "debug"]
    kubeconfig = own_control_plane.kubeconfig_for(operator_user)
    with operator_process.operator(kubeconfig, log, *arguments, elect=True) as process:
        process.wait_for("starting 8 workers")
        yield Served(process, health, metrics)


@pytest.fixture(scope="module")
def tokens(own_control_plane):
    """Tokens of two service accounts: one that may read metrics, and one that may not."""
    name = f"metrics-{secrets.token_hex(4)}"
    kubectl = own_control_plane.kubectl
    kubectl("create", "namespace", name)
    made = {}
    for account in ("allowed", "stranger"):
        kubectl("create", "serviceaccount", account, "-n", name)
        made[account] = kubectl("create", "token", account, "-n", name).stdout.strip()
    kubectl("create", "clusterrole", name, "--verb=get", "--non-resource-url=/metrics")
    kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", f"--serviceaccount={name}:allowed")
    yield made
    kubectl("delete", "namespace", name, "--wait=false")


def values(text):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text, metric, /, **labels):
    return values(text).get((metric, *sorted(labels.items())), 0)


def test_probes_are_open_and_ask_nobody(served, own_control_plane, operator_user):
    def reviews():
        return sum(
            event.get("objectRef", {}).get("resource") in {"tokenreviews", "subjectaccessreviews"}
            for event in own_control_plane.audit_events(user=operator_user)
        )

    before = reviews()
    for path in ("/healthz", "/readyz"):
        status, body = get(served.health, path)
        assert status == 200, body
    assert get(served.health, "/healthz")[1] == "[+] event-loop\n[+] workers\n"
    assert get(served.health, "/metrics")[0] == 404
    assert reviews() == before


def test_metrics_are_for_tokens_that_may_get_them(served, tokens):
    assert get(served.metrics, "/metrics")[0] == 401
    assert get(served.metrics, "/metrics", "no.such.token")[0] == 401
    status, body = get(served.metrics, "/metrics", tokens["stranger"])
    assert status == 403
    assert "redisop_" not in body
    assert get(served.metrics, "/metrics", tokens["allowed"])[0] == 200
    assert get(served.metrics, "/", tokens["allowed"])[0] == 404
    assert get(served.metrics, "/healthz")[0] == 404


@pytest.mark.usefixtures("kubelet")
async def test_what_happens_is_counted_and_the_linter_has_nothing_to_say(served, tokens, world):
    start = served.scrape(tokens["allowed"])
    world.create("demo")
    await world.ready("demo")
    stateful_set = Ref("apps/v1", "StatefulSet", world.namespace, "demo-redis")
    await world.send("PATCH", stateful_set, {"spec": {"replicas": 0}}, manager="careless-script")

    async def corrected():
        text = served.scrape(tokens["allowed"])
        return text if value(text, "redisop_drift_total", kind="StatefulSet", manager="careless-script") else None

    text = await world.until(corrected)
    await world.ready("demo")
    one = {"controller": "redishttpinstance"}
    assert value(text, "redisop_plan_actions_total", kind="StatefulSet", action="create") == 1
    assert value(text, "redisop_plan_actions_total", kind="Secret", action="create") == 2
    passes = "controller_runtime_reconcile_total"
    assert value(text, passes, result="success", **one) > value(start, passes, result="success", **one)
    assert value(text, "controller_runtime_reconcile_errors_total", **one) == 0
    assert value(text, "workqueue_adds_total", name="redishttpinstance") > 0
    assert value(text, "leader_election_master_status", name=served_lease(text)) == 1
    assert value(text, "redisop_watch_events_total", kind="StatefulSet") > 0
    assert value(text, "redisop_cached_objects", kind="Service") >= 2
    assert value(text, "redisop_events_total", outcome="written") > 0
    created = [key for key in values(text) if key[0] == "rest_client_requests_total" and ("code", "201") in key]
    assert created

    async def shown():
        return value(served.scrape(tokens["allowed"]), "redisop_instances", phase="Running") >= 1

    await world.until(shown)
    await world.send("POST", Ref("v1", "ConfigMap", world.namespace, ""), {"metadata": {"name": "other-redis-config"}})
    world.create("other")
    await world.reason("other", "NameConflict")
    text = served.scrape(tokens["allowed"])
    assert value(text, "redisop_conflicts_total", reason="NameConflict") == 1
    assert value(text, "redisop_instances_degraded", reason="NameConflict") == 1
    assert linted(text) == (0, "")


def linted(text):
    done = subprocess.run([promtool(), "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def served_lease(text):
    (name,) = re.findall(r'leader_election_master_status\{name="([^"]*)"\}', text)
    return name


def test_the_linter_would_find_something():
    code, said = linted("# TYPE bad_counter counter\nbad_counter 1\n")
    assert code != 0
    assert "_total" in said


@pytest.mark.usefixtures("kubelet")
async def test_each_pass_is_one_line_and_no_line_or_metric_holds_a_secret(served, tokens, world):
    world.create("demo", redisConfig={"memory": "64Mi"})
    await world.ready("demo")
    ref = Ref("v1", "Secret", world.namespace, "demo-redis-acl")
    made = await world.get(SECRET, "demo-redis-credentials")
    await world.send("PATCH", ref, {"stringData": {"users.acl": PLANTED}, "metadata": {"annotations": {"x": PLANTED}}})

    async def corrected():
        text = served.scrape(tokens["allowed"])
        return value(text, "redisop_drift_total", kind="Secret", manager="intruder") and text

    text = await world.until(corrected)
    await world.ready("demo")

    async def logged():
        lines = [line for line in served.log() if line.get("key") == f"{world.namespace}/demo"]
        found = [line for line in lines if line["message"] == "reconciled"]
        return found if any(line["done"].get("apply") for line in found) else None

    passes = await world.until(logged)
    generation = (await world.get(INSTANCE, "demo"))["metadata"]["generation"]
    assert all(line["generation"] == generation and line["ms"] > 0 and line["plan"] for line in passes)
    assert passes[0]["done"]["create"] >= 9
    assert Counter(line["trace"] for line in passes).most_common(1)[0][1] == 1, "one line for each pass"
    repaired = next(line for line in passes if line["done"].get("apply"))
    assert repaired["plan"].get("create", 0) == 0
    planted = [PLANTED, base64.b64encode(PLANTED.encode()).decode(), *made["data"].values()]
    planted += [base64.b64decode(item).decode() for item in made["data"].values()]
    planted += tokens.values()
    everything = served.process.output + text
    assert [secret for secret in planted if secret in everything] == []


def test_an_operator_without_an_api_server_is_alive_but_not_ready(tmp_path, own_control_plane):
    health, nobody = free_ports(2)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        own_control_plane.kubeconfig.read_text().replace(own_control_plane.url, f"https://127.0.0.1:{nobody}")
    )
    arguments = ["--health-port", str(health), "--bind", "127.0.0.1"]
    with operator_process.operator(kubeconfig, tmp_path / "log", *arguments, ready=False) as process:
        process.wait_for("waiting: ")
        assert get(health, "/healthz")[0] == 200
        status, body = get(health, "/readyz")
    assert (status, body) == (503, "[-] caches: the CRD has not been found yet\n")


def test_a_port_that_is_taken_is_said_in_one_line(served, own_control_plane, operator_user):
    arguments = ["--health-port", str(served.health), "--bind", "127.0.0.1"]
    kubeconfig = own_control_plane.kubeconfig_for(operator_user)
    command = [sys.executable, "-m", "redisop", "run", "--kubeconfig", str(kubeconfig), *arguments]
    done = subprocess.run(command, cwd=operator_process.ROOT, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert f"error: 127.0.0.1:{served.health}: cannot listen there" in done.stderr
