"""The CustomResourceDefinitions on a real API server: every rule, default and column."""

import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from random import Random

import pytest
import yaml
from click.testing import CliRunner

from redisop.api import ApiKey, RedisHttpInstance, parse
from redisop.commands.crds import gen_crds
from redisop.crd import crds
from redisop.errors import InputError
from redisop.kinds import KINDS, STATEFUL_SET
from tests.cluster.kubectl import kubectl_path
from tests.converged import wait_established
from tests.resource_cases import (
    API_VERSION,
    BAD,
    GOOD,
    INSTANCE,
    KEY,
    UNKNOWN,
    WHOLE_INSTANCE,
    WHOLE_INSTANCE_STATUS,
    WHOLE_KEY,
    WHOLE_KEY_STATUS,
    manifest,
    mutated,
)

MODELS: dict[str, type[RedisHttpInstance | ApiKey]] = {INSTANCE: RedisHttpInstance, KEY: ApiKey}


class Server:
    """The API server behind `kubectl proxy`: plain HTTP, so that a Status can be read with all its causes."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    def send(self, method, path, body=None, content_type="application/json"):
        data = None if body is None else json.dumps(body)
        self._connection.request(method, path, data, {"Content-Type": content_type})
        response = self._connection.getresponse()
        warnings = response.headers.get_all("Warning") or []
        return response.status, json.loads(response.read()), warnings

    def create(self, namespace, obj, *, dry_run=False):
        path = KINDS[API_VERSION, obj["kind"]].path(namespace)
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        return self.send("POST", path + query, obj)

    def put(self, obj, subresource=None):
        metadata = obj["metadata"]
        path = KINDS[API_VERSION, obj["kind"]].path(metadata["namespace"], metadata["name"], subresource)
        return self.send("PUT", path + "?fieldValidation=Strict", obj)


@pytest.fixture(scope="module")
def installed(control_plane):
    """The cluster with our definitions, applied as a user would from what `gen-crds -o -` prints."""
    printed = CliRunner().invoke(gen_crds, ["-o", "-"]).stdout
    applied = control_plane.kubectl(
        "apply", "--server-side", "--force-conflicts", "--validate=strict", "-f", "-", input=printed
    )
    assert "Warning" not in applied.stderr
    wait_established(control_plane)
    return control_plane


@pytest.fixture(scope="module")
def server(installed) -> Iterator[Server]:
    argv = [str(kubectl_path()), "--kubeconfig", str(installed.kubeconfig), "proxy", "--port=0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert found
            with closing(http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)) as connection:
                yield Server(connection)
        finally:
            process.terminate()


def test_the_definitions_are_structural_and_kept_whole(installed):
    for crd in crds():
        live = installed.get("crd", crd["metadata"]["name"])
        conditions = {condition["type"]: condition["status"] for condition in live["status"]["conditions"]}
        assert conditions["Established"] == "True"
        assert "NonStructuralSchema" not in conditions
        # Unknown keywords would be dropped silently.
        assert live["spec"]["versions"] == crd["spec"]["versions"]
        assert live["spec"]["names"] == crd["spec"]["names"]


def name_of(case):
    return f"{case.field}-{list(case.spec)}"[:80]


@pytest.mark.parametrize("case", BAD, ids=name_of)
def test_a_bad_manifest_is_refused_at_its_field(server, case):
    code, status, _ = server.create("default", manifest(case.kind, case.spec, case.name), dry_run=True)
    assert code == 422, status
    causes = status["details"]["causes"]
    assert case.field in [cause["field"] for cause in causes], causes
    assert case.says in status["message"]


@pytest.mark.parametrize("case", UNKNOWN, ids=name_of)
def test_a_field_that_does_not_exist_is_refused(server, case):
    code, status, _ = server.create("default", manifest(case.kind, case.spec), dry_run=True)
    assert code == 400
    assert f'unknown field "{case.field}"' in status["message"]


@pytest.mark.parametrize(("kind", "spec"), GOOD)
def test_a_good_manifest_is_admitted_and_means_what_parse_says(server, kind, spec):
    given = manifest(kind, spec)
    code, live, warnings = server.create("default", given, dry_run=True)
    assert code == 201, live
    assert not warnings
    assert MODELS[kind].model_validate(live).spec == parse(given).spec


@pytest.mark.parametrize(("kind", "spec"), [(INSTANCE, WHOLE_INSTANCE), (KEY, WHOLE_KEY)])
def test_mutations_get_the_same_verdict_from_parse_and_from_the_server(server, kind, spec):
    random = Random(kind)
    verdicts = set()
    for _ in range(500):
        given = manifest(kind, {}) | {"spec": mutated(spec, random)}
        code, answer, _ = server.create("default", given, dry_run=True)
        blamed = _field_that_parse_blames(given)
        if blamed is None:
            assert code == 201, f"only the server refuses it: {answer['message']}"
            MODELS[kind].model_validate(answer)
        else:
            assert code in {400, 422}, f"only parse() refuses {blamed}"
            # Unknown fields are all that the server tells about, where there are any.
            assert code == 400 or blamed in [cause["field"] for cause in answer["details"]["causes"]]
        verdicts.add(code)
    assert verdicts == {201, 400, 422}


def _field_that_parse_blames(given):
    try:
        parse(given)
    except InputError as error:
        return error.where
    return None


def test_scheduling_that_is_admitted_is_admitted_in_a_stateful_set_too(server):
    random = Random(1)
    tried = 0
    for _ in range(600):
        given = manifest(INSTANCE, {"scheduling": mutated(WHOLE_INSTANCE["scheduling"], random)})
        if _field_that_parse_blames(given) is not None:
            continue
        scheduling = parse(given).spec.model_dump(mode="json", by_alias=True, exclude_none=True)["scheduling"]
        pod = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}], **scheduling}}
        body = {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "x"},
            "spec": {"serviceName": "x", "selector": {"matchLabels": {"a": "b"}}, "template": pod},
        }
        path = STATEFUL_SET.path("default") + "?dryRun=All&fieldValidation=Strict"
        code, answer, _ = server.send("POST", path, body)
        assert code == 201, answer["message"]
        tried += 1
    assert tried > 100


def test_defaults_are_as_documented(server):
    _, instance, _ = server.create("default", manifest(INSTANCE, {}), dry_run=True)
    assert instance["spec"] == {
        "redisConfig": {"memory": "256Mi", "maxmemoryPolicy": "noeviction", "persistence": False, "appendOnly": False},
        "monitoring": {"exporter": False},
        "paused": False,
        "hibernated": False,
    }
    without_spec = manifest(INSTANCE, {})
    del without_spec["spec"]
    assert server.create("default", without_spec, dry_run=True)[1]["spec"] == instance["spec"]
    _, key, _ = server.create("default", manifest(KEY, {"rotation": {}}), dry_run=True)
    defaults = {"keyPatterns": ["*"], "revoked": False, "onSecretLoss": "Rotate", "rotation": {"overlap": "1h"}}
    assert {field: key["spec"][field] for field in defaults} == defaults
    _, stored, _ = server.create("default", manifest(INSTANCE, {"storage": {}}), dry_run=True)
    assert stored["spec"]["storage"] == {"size": "1Gi", "reclaimPolicy": "Retain"}


@pytest.mark.parametrize(
    ("kind", "spec", "status"),
    [(INSTANCE, WHOLE_INSTANCE, WHOLE_INSTANCE_STATUS), (KEY, WHOLE_KEY, WHOLE_KEY_STATUS)],
)
def test_every_field_comes_back(server, namespace, kind, spec, status):
    code, live, warnings = server.create(namespace, manifest(kind, spec))
    assert code == 201, live
    assert not warnings
    assert live["spec"] == spec
    assert "status" not in live
    code, live, warnings = server.put(live | {"status": status}, "status")
    assert code == 200, live
    assert not warnings
    assert live["status"] == status
    model = MODELS[kind].Status.model_validate(status)
    assert model.model_dump(mode="json", by_alias=True, exclude_none=True) == status
    assert MODELS[kind].model_validate(live).metadata.uid == live["metadata"]["uid"]


PERSISTENT = {"redisConfig": {"persistence": True}}
OFF = {"redisConfig": {"persistence": False}}
TEN = {"storage": {"size": "10Gi"}}
FAST = {"storage": {"size": "10Gi", "storageClassName": "fast"}}


@pytest.mark.parametrize(
    ("kind", "before", "after", "field"),
    [
        (INSTANCE, PERSISTENT | TEN, PERSISTENT | {"storage": {"size": "20Gi"}}, None),
        (INSTANCE, PERSISTENT | TEN, PERSISTENT | {"storage": {"size": "10240Mi"}}, None),
        (INSTANCE, PERSISTENT | TEN, PERSISTENT | {"storage": {"size": "9Gi"}}, "spec.storage.size"),
        (INSTANCE, PERSISTENT | TEN, PERSISTENT | {"storage": {}}, "spec.storage.size"),
        (INSTANCE, PERSISTENT | TEN, PERSISTENT, "spec.storage"),
        (INSTANCE, PERSISTENT | TEN, PERSISTENT | {"storage": None}, "spec.storage"),
        (INSTANCE, PERSISTENT | {"storage": {}}, PERSISTENT, "spec.storage"),
        (INSTANCE, PERSISTENT | TEN, {}, "spec.storage"),
        (INSTANCE, PERSISTENT | TEN, None, "spec.storage"),
        (INSTANCE, PERSISTENT | TEN, OFF | TEN, None),
        (INSTANCE, OFF | TEN, OFF | {"storage": {"size": "1Gi"}}, "spec.storage.size"),
        (INSTANCE, PERSISTENT, PERSISTENT | {"storage": {"size": "512Mi"}}, "spec.storage.size"),
        (INSTANCE, PERSISTENT, PERSISTENT | TEN, None),
        (INSTANCE, PERSISTENT, PERSISTENT | FAST, "spec.storage.storageClassName"),
        (INSTANCE, PERSISTENT | TEN, PERSISTENT | FAST, "spec.storage.storageClassName"),
        (INSTANCE, PERSISTENT | FAST, PERSISTENT | TEN, "spec.storage.storageClassName"),
        (INSTANCE, PERSISTENT | FAST, {}, "spec.storage.storageClassName"),
        (
            INSTANCE,
            PERSISTENT | FAST,
            PERSISTENT | {"storage": {"size": "10Gi", "storageClassName": "slow"}},
            "spec.storage.storageClassName",
        ),
        (INSTANCE, PERSISTENT | TEN, PERSISTENT | {"storage": {"size": "10Gi", "reclaimPolicy": "Delete"}}, None),
        (INSTANCE, {}, PERSISTENT | FAST, None),
        (INSTANCE, {}, PERSISTENT | {"storage": {"size": "512Mi"}}, None),
        (INSTANCE, {"version": "8.2"}, {"version": "7.0"}, None),
        (KEY, {}, {"userId": "other"}, "spec.userId"),
        (KEY, {}, {"revoked": True}, None),
        (KEY, {"revoked": True}, {"revoked": False}, "spec.revoked"),
        (KEY, {"revoked": True}, {}, "spec.revoked"),
        (KEY, {"ttl": "1h"}, {"expiresAt": "2036-01-01T00:00:00Z"}, None),
    ],
)
def test_changes_are_admitted_or_refused_and_removal_is_no_way_around(server, namespace, kind, before, after, field):
    code, live, _ = server.create(namespace, manifest(kind, before))
    assert code == 201, live
    changed = {**live, "spec": manifest(kind, after)["spec"]} if after is not None else live.copy()
    if after is None:
        del changed["spec"]
    code, answer, _ = server.put(changed)
    if field is None:
        assert code == 200, answer
    else:
        assert code == 422, answer
        assert field in [cause["field"] for cause in answer["details"]["causes"]]


def test_explain_describes_every_field(installed):
    for crd in crds():
        plural = crd["spec"]["names"]["plural"]
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        missing = list(_undescribed(schema["properties"]["spec"], "spec")) + list(
            _undescribed(schema["properties"]["status"], "status")
        )
        assert missing == []
        for path in (plural, f"{plural}.spec", f"{plural}.status"):
            told = installed.kubectl("explain", path, f"--api-version={API_VERSION}").stdout
            assert "<empty>" not in told
    told = installed.kubectl("explain", "rhi.spec.redisConfig.memory").stdout
    assert "Memory for data" in told
    assert "[]Object" in installed.kubectl("explain", "rhi.spec.scheduling", "--recursive").stdout


def _undescribed(schema, path):
    if "description" not in schema:
        yield path
    for name, field in schema.get("properties", {}).items():
        yield from _undescribed(field, f"{path}.{name}")
    for name, field in schema.get("items", {}).get("properties", {}).items():
        yield from _undescribed(field, f"{path}[].{name}")


def test_columns_short_names_and_categories(installed, server, namespace):
    for kind, status in ((INSTANCE, WHOLE_INSTANCE_STATUS), (KEY, WHOLE_KEY_STATUS)):
        code, live, _ = server.create(namespace, manifest(kind, {}))
        assert code == 201, live
        assert server.put(live | {"status": status}, "status")[0] == 200
    header, row = installed.kubectl("get", "rhi", "-n", namespace).stdout.splitlines()
    assert header.split() == ["NAME", "PHASE", "READY", "VERSION", "MEMORY", "ENDPOINT", "AGE"]
    assert row.split()[:6] == ["demo", "Running", "True", "8.2.1", "256Mi", "https://shop.redis.example"]
    header, row = installed.kubectl("get", "rak", "-n", namespace).stdout.splitlines()
    assert header.split() == ["NAME", "USER", "PHASE", "READY", "KEY", "EXPIRES", "AGE"]
    assert row.split()[:6] == ["demo", "u", "Active", "True", "0123456789", "2036-01-01T00:00:00Z"]
    header, row = installed.kubectl("get", "rhi", "-n", namespace, "-o", "wide").stdout.splitlines()
    assert header.split()[-3:] == ["REASON", "REDIS", "AGE"]
    assert row.split()[-3:-1] == ["AllReady", "demo-redis.ns.svc:6379"]
    for category in ("redis", "all"):
        names = installed.kubectl("get", category, "-n", namespace, "-o", "name").stdout.split()
        assert {"redishttpinstance.redis.kubegateway.io/demo", "apikey.redis.kubegateway.io/demo"} <= set(names)


def test_status_is_written_through_its_subresource_alone(server, namespace):
    code, live, _ = server.create(namespace, manifest(INSTANCE, {}) | {"status": WHOLE_INSTANCE_STATUS})
    assert code == 201
    assert "status" not in live
    code, answer, _ = server.put(live | {"spec": {"paused": True}, "status": {"phase": "Running"}}, "status")
    assert code == 200
    assert answer["spec"]["paused"] is False
    assert answer["metadata"]["generation"] == live["metadata"]["generation"]


def test_wait_for_ready_works(installed, server, namespace):
    _, live, _ = server.create(namespace, manifest(INSTANCE, {}))
    server.put(live | {"status": WHOLE_INSTANCE_STATUS}, "status")
    installed.kubectl("wait", "--for=condition=Ready", "rhi/demo", "-n", namespace, "--timeout=5s")


def test_two_managers_share_lists_by_their_keys(server, namespace):
    """Lists are sets and maps for server-side apply: managers add without taking over."""
    path = KINDS[API_VERSION, INSTANCE].path(namespace, "shared")
    for manager, allowed in (("one", "a"), ("two", "b")):
        body = manifest(INSTANCE, {"networking": {"allowedNamespaces": [allowed]}}, "shared")
        code, live, _ = server.send("PATCH", f"{path}?fieldManager={manager}", body, "application/apply-patch+yaml")
        assert code in {200, 201}, live
    assert live["spec"]["networking"]["allowedNamespaces"] == ["a", "b"]


def test_client_side_apply_fits_its_annotation(installed):
    """kubectl apply without --server-side keeps a copy in an annotation of at most 262144 bytes."""
    for crd in crds():
        assert len(json.dumps(crd)) < 262_144 / 2
    installed.kubectl(
        "apply", "--dry-run=server", "--server-side", "--force-conflicts", "-f", "-", input=yaml.safe_dump_all(crds())
    )
