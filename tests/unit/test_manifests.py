import base64
import os
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from redisop.api import RedisHttpInstance, parse
from redisop.kinds import INSTANCE_LABEL, KINDS, MANAGED_BY, Object, Ref, ref_of
from redisop.manifests import Manifest, Names, Refused, build, credentials
from redisop.manifests.image import allowed
from redisop.quantity import canonical
from redisop.quantity import parse as amount
from redisop.settings import Settings
from redisop.values import Generated, Pending, has_generated, has_pending
from tests.unit.instances import NAMESPACE, SETTINGS, SPECS, instance, live, resource
from tests.unit.instances import credentials as secret_of

GOLDEN = Path(__file__).parents[1] / "golden"
MI = 1 << 20


class Dumper(yaml.SafeDumper):
    def ignore_aliases(self, _: Any) -> bool:
        return True


for placeholder in (Generated, Pending):
    Dumper.add_representer(placeholder, lambda dumper, value: dumper.represent_scalar("!placeholder", str(value)))
Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def document(manifests: tuple[Manifest, ...]) -> str:
    return "".join(
        f"--- # wave {manifest.wave}\n" + yaml.dump(manifest.obj, Dumper=Dumper, sort_keys=False, width=1000)
        for manifest in manifests
    )


def objects(found: tuple[Manifest, ...]) -> dict[tuple[str, str], Object]:
    return {(manifest.obj["kind"], manifest.obj["metadata"]["name"]): manifest.obj for manifest in found}


def built(spec: dict[str, Any], name: str = "demo", *observed: Object) -> dict[tuple[str, str], Object]:
    return objects(build(instance(name, spec), SETTINGS, live(secret_of(name), *observed)))


def pod_of(found: dict[tuple[str, str], Object]) -> Object:
    (stateful_set,) = (obj for (kind, _), obj in found.items() if kind == "StatefulSet")
    template: Object = stateful_set["spec"]["template"]
    return template


def container(pod: Object, name: str) -> Object | None:
    return next((item for item in pod["spec"]["containers"] if item["name"] == name), None)


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from walk(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from walk(item, f"{path}[{index}]")


@pytest.mark.parametrize("name", [*SPECS, "first"])
def test_golden(name: str):
    """Compared byte by byte; REDISOP_GOLDEN=write renews the files, whose difference is then to be read."""
    observed = {} if name == "first" else live(secret_of(name))
    spec = SPECS["exporter"] if name == "first" else SPECS[name]
    parse(resource(name, spec))
    text = document(build(instance(name, spec), SETTINGS, observed))
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("REDISOP_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


def test_every_golden_file_has_its_instance():
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == {*SPECS, "first"}


# ---- what holds for every instance


def maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


MEMORY = st.one_of(st.integers(16, 5000).map(lambda n: f"{n}Mi"), st.integers(1, 4096).map(lambda n: f"{n}Gi"))
CPU = st.one_of(
    st.integers(0, 9_999_999).map(lambda n: f"{n}m"), st.integers(0, 9999).map(str), st.sampled_from(["0.5", "1.250"])
)
LABELS = st.dictionaries(
    st.sampled_from(["a", "example.com/b", "redis.kubegateway.io/instance"]), st.sampled_from(["", "x", "redis"])
)
SELECTOR = maybe(
    matchLabels=LABELS,
    matchExpressions=st.lists(
        st.one_of(
            st.builds(
                lambda values: {"key": "k", "operator": "In", "values": values}, st.lists(st.just("v"), min_size=1)
            ),
            st.just({"key": "k", "operator": "Exists", "values": []}),
            st.just({"key": "k", "operator": "Exists"}),
        ),
        max_size=2,
    ),
)
TERM = st.fixed_dictionaries({"topologyKey": st.just("zone")}, optional={"labelSelector": SELECTOR})
POD_AFFINITY = maybe(
    requiredDuringSchedulingIgnoredDuringExecution=st.lists(TERM, max_size=2),
    preferredDuringSchedulingIgnoredDuringExecution=st.lists(
        st.fixed_dictionaries({"weight": st.integers(1, 100), "podAffinityTerm": TERM}), max_size=2
    ),
)
NODE_TERM = maybe(
    matchExpressions=st.lists(st.just({"key": "k", "operator": "Gt", "values": ["1"]}), max_size=2),
    matchFields=st.lists(st.just({"key": "metadata.name", "operator": "In", "values": ["n"]}), max_size=2),
)
SCHEDULING = maybe(
    nodeSelector=LABELS,
    tolerations=st.lists(
        st.sampled_from([{"operator": "Exists"}, {"key": "k", "value": ""}, {"key": "k", "value": "v"}]), max_size=3
    ),
    affinity=maybe(
        nodeAffinity=maybe(
            requiredDuringSchedulingIgnoredDuringExecution=st.fixed_dictionaries(
                {"nodeSelectorTerms": st.lists(NODE_TERM, min_size=1, max_size=2)}
            ),
            preferredDuringSchedulingIgnoredDuringExecution=st.lists(
                st.fixed_dictionaries({"weight": st.just(1), "preference": NODE_TERM}), max_size=2
            ),
        ),
        podAffinity=POD_AFFINITY,
        podAntiAffinity=POD_AFFINITY,
    ),
    topologySpreadConstraints=st.lists(
        st.fixed_dictionaries(
            {
                "maxSkew": st.just(1),
                "topologyKey": st.sampled_from(["zone", "host"]),
                "whenUnsatisfiable": st.just("ScheduleAnyway"),
            },
            optional={"labelSelector": SELECTOR},
        ),
        max_size=2,
        unique_by=lambda item: item["topologyKey"],
    ),
    priorityClassName=st.just("important"),
)
CONFIG = maybe(
    memory=MEMORY,
    maxmemoryPolicy=st.sampled_from(["noeviction", "allkeys-lfu"]),
    persistence=st.booleans(),
    appendOnly=st.booleans(),
    parameters=maybe(
        databases=st.integers(1, 1024),
        timeout=st.integers(0, 604_800),
        lazyfreeLazyUserDel=st.booleans(),
        notifyKeyspaceEvents=st.text("KEg$lshzxeAtdmn", max_size=32),
        appendfsync=st.sampled_from(["always", "everysec", "no"]),
    ),
)
NAMESPACE_NAME = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
SPEC = maybe(
    version=st.sampled_from(["8.2", "7.0.15", "latest"]),
    redisConfig=CONFIG,
    storage=maybe(
        size=st.integers(8192, 9000).map(lambda n: f"{n}Gi"),
        storageClassName=st.just("fast"),
        reclaimPolicy=st.sampled_from(["Retain", "Delete"]),
    ),
    resources=maybe(requests=maybe(cpu=CPU, memory=MEMORY), limits=maybe(cpu=CPU)),
    networking=maybe(allowedNamespaces=st.lists(NAMESPACE_NAME, max_size=4, unique=True)),
    scheduling=SCHEDULING,
    monitoring=maybe(exporter=st.booleans()),
    hibernated=st.booleans(),
)


@st.composite
def instances(draw: st.DrawFn) -> RedisHttpInstance:
    spec = draw(SPEC)
    config = spec.get("redisConfig", {})
    if config.get("appendOnly"):
        config["persistence"] = True
    if config.get("persistence"):
        spec.setdefault("storage", {}).setdefault("size", "8192Gi")
    resources = spec.get("resources", {})
    asked, limit = resources.get("requests", {}).get("cpu"), resources.get("limits", {}).get("cpu")
    if asked is not None and limit is not None and amount(asked) > amount(limit):
        resources["requests"]["cpu"], resources["limits"]["cpu"] = limit, asked
    name = draw(st.from_regex(r"[a-z]([-a-z0-9]{0,43}[a-z0-9])?", fullmatch=True))
    found = parse(resource(name, spec, labels={"app.kubernetes.io/name": "mine", "team": "a"}))
    assert isinstance(found, RedisHttpInstance)
    return found


MEANINGFUL_EMPTIES = ("labelSelector", "preference")


@given(instances())
def test_canonical_named_and_labelled(found: RedisHttpInstance):
    name = found.metadata.name
    observed = live(secret_of(name))
    first = build(found, SETTINGS, observed)
    assert document(first) == document(build(found, SETTINGS, observed))
    assert len({ref_of(item.obj) for item in first}) == len(first)
    for _, obj in first:
        assert (obj["apiVersion"], obj["kind"]) in KINDS
        assert len(obj["metadata"]["name"]) <= 63
        assert obj["metadata"]["namespace"] == NAMESPACE
        assert obj["metadata"]["labels"][MANAGED_BY] == "redisop"
        assert obj["metadata"]["labels"][INSTANCE_LABEL] == name
        assert "team" not in str(obj["metadata"]["labels"])
        for path, value in walk(obj):
            assert value is not None, path
            if value in ({}, []):
                assert path.endswith(MEANINGFUL_EMPTIES) or "nodeSelectorTerms[" in path, path
            if isinstance(value, str) and path.endswith((".cpu", ".memory", ".storage", ".sizeLimit")):
                assert value == canonical(value), path


@given(instances())
def test_selectors_are_two_labels_of_ours_only(found: RedisHttpInstance):
    expected = {"app.kubernetes.io/name": "redis", INSTANCE_LABEL: found.metadata.name}
    manifests = objects(build(found, SETTINGS, live(secret_of(found.metadata.name))))
    selectors = [obj["spec"]["selector"] for (kind, _), obj in manifests.items() if kind == "Service"]
    selectors += [
        obj["spec"]["selector"]["matchLabels"]
        for (kind, _), obj in manifests.items()
        if kind in {"StatefulSet", "PodDisruptionBudget"}
    ]
    selectors += [
        obj["spec"]["podSelector"]["matchLabels"] for (kind, _), obj in manifests.items() if kind == "NetworkPolicy"
    ]
    assert selectors == [expected] * 5
    assert expected.items() <= pod_of(manifests)["metadata"]["labels"].items()


@given(instances())
def test_memory_limit_leaves_room_beside_the_data(found: RedisHttpInstance):
    redis = container(pod_of(objects(build(found, SETTINGS, {}))), "redis")
    assert redis is not None
    data = found.spec.redis_config.memory_bytes
    requests, limits = redis["resources"]["requests"], redis["resources"]["limits"]
    copies = 2 if found.spec.redis_config.persistence else 1
    assert amount(limits["memory"]) >= copies * data + max(64 * MI, data // 4)
    assert amount(requests["memory"]) <= amount(limits["memory"])
    assert amount(requests["cpu"]) <= amount(limits.get("cpu", requests["cpu"]))


@given(instances())
def test_the_exporter_goes_as_a_whole(found: RedisHttpInstance):
    name = found.metadata.name
    on = found.spec.monitoring.exporter
    manifests = objects(build(found, SETTINGS, live(secret_of(name))))
    ports = [port["name"] for port in manifests["Service", f"{name}-redis"]["spec"]["ports"]]
    rules = manifests["NetworkPolicy", f"{name}-redis"]["spec"]["ingress"]
    acl = base64.b64decode(manifests["Secret", f"{name}-redis-acl"]["data"]["users.acl"]).decode()
    keys = manifests["Secret", f"{name}-redis-credentials"]["data"]
    assert (container(pod_of(manifests), "exporter") is not None) is on
    assert ("metrics" in ports) is on
    assert (len(rules) == 2) is on
    assert ("user exporter " in acl) is on
    assert ("exporter-password" in keys) is on


# ---- single decisions


def test_first_build_generates_passwords_and_waits_for_them():
    found = objects(build(instance("demo", {}), SETTINGS, {}))
    passwords = found["Secret", "demo-redis-credentials"]
    assert passwords["data"] == {"operator-password": Generated(), "probe-password": Generated()}
    assert found["Secret", "demo-redis-acl"]["data"] == {"users.acl": Pending("Secret/demo-redis-credentials")}
    assert has_pending(found["StatefulSet", "demo-redis"])
    holders = {name for (_, name), obj in found.items() if has_generated(obj)}
    assert holders == {"demo-redis-credentials"}


def test_the_aclfile_follows_the_live_passwords():
    found = built({})
    text = base64.b64decode(found["Secret", "demo-redis-acl"]["data"]["users.acl"]).decode()
    digest = sha256(b"planted-operator").hexdigest()
    assert text.splitlines()[:2] == [
        "user default off resetkeys resetchannels -@all",
        f"user operator on #{digest} ~* &* +@all",
    ]
    assert not has_pending(found["StatefulSet", "demo-redis"])


@pytest.mark.parametrize(
    "secret",
    [
        secret_of("demo", ("operator",)),
        secret_of("demo", owner="someone-else"),
        {**secret_of("demo"), "metadata": {**secret_of("demo")["metadata"], "ownerReferences": []}},
        {key: value for key, value in secret_of("demo").items() if key != "data"},
        {**secret_of("demo"), "data": {"operator-password": "", "probe-password": "!"}},
    ],
    ids=["incomplete", "foreign", "unowned", "empty", "broken"],
)
def test_the_aclfile_waits_for_passwords_that_are_ours(secret: Object):
    found = objects(build(instance("demo", {}), SETTINGS, live(secret)))
    assert has_pending(found["Secret", "demo-redis-acl"])


def test_no_password_stands_anywhere():
    for name in SPECS:
        text = document(build(instance(name), SETTINGS, live(secret_of(name))))
        for user in ("operator", "probe", "exporter"):
            assert f"planted-{user}" not in text
            assert base64.b64encode(f"planted-{user}".encode()).decode() not in text


def test_a_secret_made_anew_restarts_redis():
    before = pod_of(built({}))
    secret = secret_of("demo")
    secret["metadata"]["uid"] = "another"
    after = pod_of(objects(build(instance("demo", {}), SETTINGS, live(secret))))
    assert before["metadata"]["annotations"] != after["metadata"]["annotations"]
    assert before["spec"] == after["spec"]


@pytest.mark.parametrize(
    ("spec", "restarts"),
    [
        ({"redisConfig": {"maxmemoryPolicy": "allkeys-lru"}}, False),
        ({"redisConfig": {"parameters": {"timeout": 9}}}, False),
        ({"networking": {"allowedNamespaces": ["web"]}}, False),
        ({"storage": {"size": "2Gi"}}, False),
        ({"hibernated": True}, False),
        ({"redisConfig": {"parameters": {"databases": 2}}}, True),
        ({"redisConfig": {"memory": "512Mi"}}, True),
        ({"version": "7.0"}, True),
        ({"monitoring": {"exporter": True}}, True),
    ],
)
def test_the_pod_template_changes_only_for_what_needs_a_restart(spec: dict[str, Any], *, restarts: bool):
    assert (pod_of(built(spec)) != pod_of(built({}))) is restarts


def test_turning_on_the_append_only_file_restarts_nothing():
    config = {"persistence": True}
    assert pod_of(built({"redisConfig": config})) == pod_of(built({"redisConfig": {**config, "appendOnly": True}}))


def claim(size: str, name: str = "demo") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data-demo-redis-0", "namespace": NAMESPACE, "labels": {INSTANCE_LABEL: name}},
        "spec": {"resources": {"requests": {"storage": size}}, "volumeName": "pv"},
    }


def test_a_smaller_claim_is_expanded_by_its_size_alone():
    spec = {"redisConfig": {"persistence": True}, "storage": {"size": "2048Mi"}}
    found = build(instance("demo", spec), SETTINGS, live(secret_of("demo"), claim("1Gi")))
    (expansion,) = (item for item in found if item.obj["kind"] == "PersistentVolumeClaim")
    assert expansion.wave > max(item.wave for item in found if item is not expansion)
    assert expansion == Manifest(
        expansion.wave,
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data-demo-redis-0", "namespace": NAMESPACE},
            "spec": {"resources": {"requests": {"storage": "2Gi"}}},
        },
    )


@pytest.mark.parametrize(
    ("observed", "persistence"),
    [
        ([], True),
        ([claim("2Gi")], True),
        ([claim("2048Mi")], True),
        ([claim("3Gi")], True),
        ([claim("1Gi")], False),
        ([claim("1Gi", "other")], True),
    ],
    ids=["missing", "equal", "spelled otherwise", "larger", "not in use", "not ours"],
)
def test_any_other_claim_is_left_alone(observed: list[Object], *, persistence: bool):
    found = built({"redisConfig": {"persistence": persistence}, "storage": {"size": "2Gi"}}, "demo", *observed)
    assert "PersistentVolumeClaim" not in {kind for kind, _ in found}


def test_only_the_probe_password_is_mounted_and_only_the_exporter_reads_its_own():
    pod = pod_of(built({"monitoring": {"exporter": True}}))
    secrets = [volume["secret"] for volume in pod["spec"]["volumes"] if "secret" in volume]
    assert {secret["secretName"]: [item["key"] for item in secret.get("items", [])] for secret in secrets} == {
        "demo-redis-acl": [],
        "demo-redis-credentials": ["probe-password"],
    }
    redis, exporter = container(pod, "redis"), container(pod, "exporter")
    assert redis is not None
    assert exporter is not None
    assert "env" not in redis
    assert "envFrom" not in redis
    assert "volumeMounts" not in exporter
    assert [item["valueFrom"]["secretKeyRef"] for item in exporter["env"] if "valueFrom" in item] == [
        {"name": "demo-redis-credentials", "key": "exporter-password"}
    ]
    assert not [mount for mount in redis["volumeMounts"] if "subPath" in mount]


def test_namespaces_are_named_once_whoever_names_them():
    settings = Settings(operator_namespace="one", gateway_namespace="one")
    spec = {"networking": {"allowedNamespaces": ["web", "one", "batch"]}}
    found = objects(build(instance("demo", spec), settings, {}))
    (rule,) = found["NetworkPolicy", "demo-redis"]["spec"]["ingress"]
    names = [peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in rule["from"]]
    assert names == ["batch", "one", "web"]


def test_time_to_save_grows_with_the_data():
    def grace(spec: dict[str, Any]) -> int:
        seconds: int = pod_of(built(spec))["spec"]["terminationGracePeriodSeconds"]
        return seconds

    assert grace({}) == 30
    assert grace({"redisConfig": {"persistence": True}}) == 600
    assert grace({"redisConfig": {"persistence": True, "memory": "64Gi"}, "storage": {"size": "64Gi"}}) == 2048


# ---- the image


@pytest.mark.parametrize(
    ("entry", "name", "verdict"),
    [
        ("registry.example/redis", "registry.example/redis", True),
        ("registry.example/redis", "registry.example/redis:8", True),
        ("registry.example/redis", "registry.example/redis@sha256:" + "a" * 64, True),
        ("registry.example/redis", "registry.example/redis:8@sha256:" + "a" * 64, True),
        ("registry.example/redis", "registry.example/redis/fork:8", True),
        ("registry.example/redis", "registry.example/redis-evil:8", False),
        ("registry.example/redis", "registry.example/redisx", False),
        ("registry.example/team/", "registry.example/team/redis:8", True),
        ("registry.example/team/", "registry.example/teams/redis:8", False),
        ("registry.example", "registry.example/any/redis", True),
        ("registry.example", "registry.example:5000/any/redis", False),
        ("registry.example", "registry.example.evil.example/redis", False),
        ("registry.example/redis:8", "registry.example/redis:8", True),
        ("registry.example/redis:8", "registry.example/redis:8.2", False),
        ("docker.io/library/redis", "redis:8", False),
        ("sha256:" + "a" * 64, "any.example/redis@sha256:" + "a" * 64, True),
        ("sha256:" + "a" * 64, "any.example/redis@sha256:" + "b" * 64, False),
        ("sha256:" + "a" * 64, "any.example/redis", False),
    ],
)
def test_allow_list(entry: str, name: str, *, verdict: bool):
    assert allowed(name, [entry]) is verdict


def test_an_image_that_is_not_allowed_is_refused():
    with pytest.raises(Refused, match=r"evil\.example/redis") as caught:
        built({"image": "evil.example/redis"})
    assert (caught.value.reason, caught.value.field) == ("ImageNotAllowed", "spec.image")


def test_version_is_a_tag_of_the_operators_repository():
    settings = Settings(image_repository="mirror.example/redis", default_version="7.0")
    for spec, expected in (({}, "mirror.example/redis:7.0"), ({"version": "8.2"}, "mirror.example/redis:8.2")):
        redis = container(pod_of(objects(build(instance("demo", spec), settings, {}))), "redis")
        assert redis is not None
        assert redis["image"] == expected


def test_names_are_values():
    names = Names("demo", "team-a")
    assert (names.base, names.pod, names.claim) == ("demo-redis", "demo-redis-0", "data-demo-redis-0")
    with pytest.raises(FrozenInstanceError):
        names.name = "other"  # type: ignore[misc]


def test_password_of_a_live_secret():
    assert credentials.password(secret_of("demo"), "operator") == "planted-operator"
    assert credentials.password(None, "operator") is None
    assert credentials.password({"data": None}, "operator") is None


def test_the_longest_name_fits_everywhere():
    names = Names("x" * 45, NAMESPACE)
    assert len(names.claim) <= 63
    assert len(f"{names.base}-{'0' * 10}") <= 63  # controller-revision-hash, a label of the Pod
    assert isinstance(Ref("v1", "Secret", names.namespace, names.credentials), Ref)
    assert len(names.credentials) <= 63
