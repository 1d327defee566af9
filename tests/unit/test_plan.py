import copy

import pytest

from redisop.graph import OWNER_UID as ANNOTATION
from redisop.graph import build
from redisop.kinds import Object, Ref, ref_of
from redisop.plan import (
    BEING_DELETED,
    GONE,
    MISSING,
    Action,
    Change,
    Op,
    Settled,
    forget,
    plan,
    plan_object,
    request,
    resolve,
    settle,
)
from redisop.values import Generated, Pending
from tests.unit.objects import (
    OWNER_UID,
    UID,
    applied,
    config_map,
    instance,
    other,
    set_of_fields,
    stateful_set,
)

KEY = Ref("redis.kubegateway.io/v1alpha1", "RedisHttpInstance", "ns", "demo")
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "data-s-0", "namespace": "ns"},
    "spec": {"resources": {"requests": {"storage": "2Gi"}}},
}


def wanted(manifest):
    (node,) = build(instance(), [(0, manifest)]).nodes
    return node.want


def step_of(manifest, live, settled=None):
    return plan_object(wanted(manifest), live, settled or {}, owner_uid=OWNER_UID)


def owned(manifest, **more):
    return applied(wanted(manifest), **more)


def secret(**data):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "type": "Opaque", "data": data}


def service(**spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec}


def test_missing_objects_are_created():
    step = step_of(config_map(a="1"), None)
    assert (step.action, step.changes, step.writes) == (Action.CREATE, (), True)


def test_what_is_as_wanted_is_unchanged_with_nothing_settled():
    step = step_of(config_map(a="1"), owned(config_map(a="1")))
    assert (step.action, step.changes, step.writes) == (Action.UNCHANGED, (), False)


def test_a_changed_wish_is_applied_and_blames_nobody():
    step = step_of(config_map(a="2"), owned(config_map(a="1")))
    assert step.action is Action.APPLY
    assert step.changes == (Change(".data.a", Op.SET, "1", "2"),)
    assert step.reasons == ()


def test_drift_names_who_did_it():
    live = owned(config_map(a="1", b="2"), others=[other("kubectl-edit", {"f:data": {"f:a": {}}})])
    live["data"]["a"] = "x"
    del live["metadata"]["managedFields"][0]["fieldsV1"]["f:data"]["f:a"]
    step = step_of(config_map(a="1", b="2"), live)
    assert step.changes == (Change(".data.a", Op.SET, "x", "1", "kubectl-edit", "2026-02-02T00:00:00Z", ours=False),)


def test_a_co_owner_of_what_we_change_is_not_blamed():
    live = owned(config_map(a="1"), others=[other("kubectl-edit", {"f:data": {"f:a": {}}})])
    assert step_of(config_map(a="2"), live).changes == (Change(".data.a", Op.SET, "1", "2"),)


def test_an_entry_of_another_api_version_is_applied_again():
    live = owned(config_map(a="1"))
    live["metadata"]["managedFields"][0]["apiVersion"] = "v0"
    step = step_of(config_map(a="1"), live)
    assert (step.action, step.changes, step.reasons) == (Action.APPLY, (), ("applied as v0 before",))


@pytest.mark.parametrize("managed", [[], [other("redisop", {"f:data": {"f:a": {}}})]])
def test_without_an_entry_of_our_applies_everything_is_to_be_owned(managed):
    live = owned(config_map(a="1"))
    live["metadata"]["managedFields"] = managed
    step = step_of(config_map(a="1"), live)
    assert step.action is Action.APPLY
    assert {change.op for change in step.changes} == {Op.OWN}
    assert ".data.a" in {change.path for change in step.changes}


def test_a_map_applied_empty_once_and_filled_by_others_is_to_be_owned():
    others = [other("filler", {"f:data": {".": {}, "f:a": {}}})]
    live = owned(config_map(), others=others)
    live["data"] = {"a": "1"}
    step = step_of(config_map(a="1"), live)
    assert step.action is Action.APPLY
    assert [(change.op, change.path, change.manager) for change in step.changes] == [(Op.OWN, ".data", "filler")]
    atomic = owned(config_map(), others=[other("co-owner", {"f:data": {}})])
    atomic["data"] = {"a": "1"}
    assert step_of(config_map(a="1"), atomic).action is Action.UNCHANGED


def foreign(obj, owner):
    obj = copy.deepcopy(obj)
    obj["metadata"].pop("annotations", None)
    obj["metadata"]["ownerReferences"] = owner
    return obj


@pytest.mark.parametrize(
    ("owner", "text"),
    [
        ([], "has no controller owner"),
        ([{"kind": "Deployment", "name": "x", "uid": "u", "controller": True}], "belongs to Deployment/x"),
        ([{"kind": "RedisHttpInstance", "name": "demo", "uid": "earlier", "controller": True}], "belongs to"),
        ([{"kind": "RedisHttpInstance", "name": "demo", "uid": OWNER_UID}], "has no controller owner"),
    ],
)
@pytest.mark.parametrize("going", [False, True])
def test_what_is_not_ours_is_never_written(owner, text, going):
    live = foreign(owned(config_map(a="1")), owner)
    if going:
        live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    step = step_of(config_map(a="2"), live)
    assert (step.action, step.writes) == (Action.CONFLICT, False)
    assert step.reasons[0].startswith("NameConflict: ConfigMap/c exists and ")
    assert text in step.reasons[0]


def test_a_child_whose_owner_references_were_removed_is_ours_by_its_annotation():
    live = owned(config_map(a="1"))
    live["metadata"]["ownerReferences"] = []
    step = step_of(config_map(a="1"), live)
    assert step.action is Action.APPLY
    assert [change.path for change in step.changes] == ['.metadata.ownerReferences[name="demo"]']


def test_an_orphan_of_an_earlier_instance_of_the_same_name_is_not_ours():
    live = owned(config_map(a="1"))
    live["metadata"]["ownerReferences"] = []
    live["metadata"]["annotations"][ANNOTATION] = "earlier"
    assert step_of(config_map(a="1"), live).action is Action.CONFLICT


def test_an_object_being_deleted_is_waited_for():
    live = owned(config_map(a="1"))
    live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    step = step_of(config_map(a="2"), live)
    assert (step.action, step.reasons) == (Action.UNCHANGED, (BEING_DELETED,))


def test_status_is_planned_by_the_same_function():
    want = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}, "status": {"phase": "Running"}}

    def planned(live):
        return plan_object(want, live, {}, owner_uid=None, subresource="status")

    live = applied(want, subresource="status")
    assert planned(live).action is Action.UNCHANGED
    assert planned(applied(want)).action is Action.APPLY
    live["status"]["phase"] = "Failed"
    live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    step = planned(live)
    assert (step.action, step.subresource) == (Action.APPLY, "status")
    assert (planned(None).action, planned(None).reasons) == (Action.UNCHANGED, (GONE,))


CLAIM_TEMPLATE: Object = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}


def stored(want, name, value):
    """Return `want` as stored where the server keeps `.spec.<name>` as an atomic `value`."""
    live = owned(want)
    live["spec"][name] = value
    live["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:" + name] = {}
    return live


@pytest.mark.parametrize(
    ("value", "action"),
    [
        ([{**CLAIM_TEMPLATE, "status": None}], Action.UNCHANGED),
        ([{**CLAIM_TEMPLATE, "status": {"phase": "Pending"}}], Action.APPLY),
        ([{"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "5Gi"}}}}], Action.REPLACE),
        ([{**CLAIM_TEMPLATE, "metadata": {"name": "data", "creationTimestamp": None}}], Action.UNCHANGED),
        ([{**CLAIM_TEMPLATE, "metadata": {"name": "data", "labels": {"a": "b"}}}], Action.REPLACE),
        ([{**CLAIM_TEMPLATE, "spec": {**CLAIM_TEMPLATE["spec"], "storageClassName": "x"}}], Action.REPLACE),
        ([{**CLAIM_TEMPLATE, "spec": {**CLAIM_TEMPLATE["spec"], "volumeMode": "Filesystem"}}], Action.APPLY),
        ([CLAIM_TEMPLATE, CLAIM_TEMPLATE], Action.REPLACE),
        ([], Action.REPLACE),
    ],
)
def test_defaults_the_server_adds_to_a_claim_template_never_replace_the_stateful_set(value, action):
    want = stateful_set(volumeClaimTemplates=[CLAIM_TEMPLATE])
    assert step_of(want, stored(want, "volumeClaimTemplates", value)).action is action


@pytest.mark.parametrize(
    ("new", "action"),
    [
        (stateful_set(replicas=0), Action.APPLY),
        (stateful_set(serviceName="other"), Action.REPLACE),
        (stateful_set(podManagementPolicy="Parallel"), Action.REPLACE),
        (stateful_set(updateStrategy={"type": "OnDelete"}), Action.APPLY),
        ({**stateful_set(), "metadata": {"name": "s", "labels": {"a": "b"}}}, Action.APPLY),
    ],
)
def test_a_stateful_set_is_replaced_where_it_cannot_be_changed(new, action):
    step = step_of(new, owned(stateful_set()))
    assert step.action is action
    assert step.reasons == (
        (f"ImmutableField: {step.changes[0].path} cannot be changed in place",) if action is Action.REPLACE else ()
    )


def test_an_immutable_field_that_is_only_to_be_owned_replaces_nothing():
    live = owned(stateful_set())
    del live["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:serviceName"]
    assert step_of(stateful_set(), live).action is Action.APPLY


def frozen(obj):
    return {**obj, "immutable": True}


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        (service(clusterIP="None"), service(clusterIP="10.0.0.1"), ".spec.clusterIP"),
        (secret(a="MQ=="), {**secret(a="MQ=="), "type": "kubernetes.io/tls"}, ".type"),
        (frozen(config_map(a="1")), frozen(config_map(a="2")), ".data.a"),
        (frozen(config_map(a="1")), config_map(a="1"), ".immutable"),
        (frozen(secret(a="MQ==")), frozen(secret(a="Mg==")), ".data.a"),
    ],
)
def test_an_immutable_difference_that_cannot_be_replaced_is_a_named_problem(old, new, path):
    step = step_of(new, owned(old))
    assert (step.action, step.writes) == (Action.CONFLICT, False)
    assert step.reasons == (f"ImmutableField: {path} cannot be changed in place",)
    assert step.changes[0].path == path


def test_labels_of_a_frozen_object_can_still_be_changed():
    new = frozen(config_map(a="1"))
    new["metadata"] = {"name": "c", "labels": {"a": "other"}}
    assert step_of(new, owned(frozen(config_map(a="1")))).action is Action.APPLY


def claim(storage="1Gi", *, phase="Bound", **metadata):
    labels = {"labels": {"redis.kubegateway.io/instance": "demo"}}
    return {
        **CLAIM,
        "metadata": {"name": "data-s-0", "namespace": "ns", "uid": UID, "resourceVersion": "5", **labels, **metadata},
        "spec": {"resources": {"requests": {"storage": storage}}},
        "status": {"phase": phase},
    }


@pytest.mark.parametrize(
    ("live", "action", "reason"),
    [
        (claim("1Gi"), Action.APPLY, None),
        (claim("1Gi", phase="Pending"), Action.UNCHANGED, "is expanded when it has its volume"),
        (claim("2048Mi", phase="Pending"), Action.UNCHANGED, None),
        (claim("2048Mi"), Action.UNCHANGED, None),
        (claim("3Gi"), Action.UNCHANGED, None),
        (claim(deletionTimestamp="2026-01-01T00:00:00Z"), Action.UNCHANGED, BEING_DELETED),
        (claim(labels={}), Action.CONFLICT, "NameConflict: PersistentVolumeClaim/data-s-0 lacks the label"),
        (claim(labels={"redis.kubegateway.io/instance": "x"}), Action.CONFLICT, "NameConflict"),
    ],
)
def test_the_claim_is_only_ever_expanded(live, action, reason):
    (step,) = plan(build(instance(), [(2, CLAIM)]), {ref_of(live): live}, {}).steps
    assert step.action is action
    assert (step.reasons[0].startswith(reason)) if reason else step.reasons == ()
    if action is Action.APPLY:
        assert step.changes == (Change(".spec.resources.requests.storage", Op.SET, "1Gi", "2Gi"),)


def test_a_claim_that_is_not_there_is_left_to_the_stateful_set():
    assert plan(build(instance(), [(2, CLAIM)]), {}, {}).steps == ()


def live_of(*objects):
    return {ref_of(obj): obj for obj in objects}


def test_what_is_ours_and_not_wanted_is_deleted_last():
    kept, unwanted = owned(config_map("kept")), owned(config_map("unwanted"))
    going = owned(config_map("going"))
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    strangers = [
        foreign(owned(config_map("no-owner")), []),
        foreign(owned(config_map("theirs")), [{"kind": "X", "name": "x", "uid": "u", "controller": True}]),
        foreign(owned(config_map("second")), [{"kind": "X", "name": "x", "uid": OWNER_UID, "controller": False}]),
        claim(),
    ]
    graph = build(instance(), [(0, config_map("kept")), (3, stateful_set())])
    made = plan(graph, live_of(kept, unwanted, going, *strangers), {})
    assert [(step.action, step.ref.name, step.wave) for step in made.steps] == [
        (Action.UNCHANGED, "kept", 0),
        (Action.CREATE, "s", 3),
        (Action.DELETE, "unwanted", 4),
    ]
    assert made.steps[-1].live is unwanted
    assert made.key == KEY


def test_nothing_is_planned_for_an_instance_being_deleted():
    going = instance()
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    made = plan(build(going, [(0, config_map("a"))]), live_of(owned(config_map("a"))), {})
    assert made.steps == ()
    assert made.empty


def test_a_plan_counts_its_steps():
    graph = build(instance(), [(0, config_map("a")), (0, config_map("b")), (1, secret(x=Pending("Secret/y")))])
    made = plan(graph, live_of(owned(config_map("a"))), {})
    counts = {action: count for action, count in made.counts().items() if count}
    assert counts == {Action.UNCHANGED: 1, Action.CREATE: 2}
    assert [step.ref.name for step in made.writes] == ["b"]
    assert not made.empty
    assert made.restarts == ()


def test_generated_values_are_kept_once_made():
    manifest = secret(password=Generated(), user="dQ==")
    assert resolve(manifest, None) == manifest
    assert resolve(manifest, secret(password="abc"))["data"] == {"password": "abc", "user": "dQ=="}
    live = owned(secret(password="abc", user="dQ=="))
    step = step_of(manifest, live)
    assert step.action is Action.UNCHANGED
    assert step.want is not None
    assert step.want["data"]["password"] == "abc"


@pytest.mark.parametrize("lost", [{}, {"password": ""}, None])
def test_a_lost_generated_value_is_made_anew(lost):
    live = owned(secret(password="abc"))
    live["data"] = lost
    step = step_of(secret(password=Generated()), live)
    assert step.action is Action.APPLY
    assert [(change.path, change.new) for change in step.changes] == [
        (".data.password", Generated()),
    ]


def test_requests_carry_their_preconditions():
    create = step_of(config_map(a="1"), None)
    assert create.want is not None
    assert request(create)["metadata"] == {**create.want["metadata"], "resourceVersion": "1"}
    change = step_of(config_map(a="2"), owned(config_map(a="1")))
    assert change.want is not None
    assert request(change)["metadata"] == {**change.want["metadata"], "resourceVersion": "100", "uid": UID}
    assert request(change)["data"] == {"a": "2"}
    assert "resourceVersion" not in change.want["metadata"]
    replace = step_of(stateful_set(serviceName="other"), owned(stateful_set()))
    assert request(replace)["metadata"]["resourceVersion"] == "1"
    assert "uid" not in request(replace)["metadata"]


def test_a_delete_has_nothing_to_apply():
    (step,) = plan(build(instance(), []), live_of(owned(config_map("a"))), {}).steps
    with pytest.raises(ValueError, match="nothing to apply"):
        request(step)


def defaulted():
    live = owned(config_map(a="1"))
    live["data"]["a"] = "1 as the server writes it"
    return live


def test_what_the_server_spells_differently_is_applied_once():
    settled: Settled = {}
    live = defaulted()
    assert step_of(config_map(a="1"), live, settled).action is Action.APPLY
    settle(settled, wanted(config_map(a="1")), live)
    assert step_of(config_map(a="1"), live, settled).action is Action.UNCHANGED
    live["metadata"]["resourceVersion"] = "101"
    live["data"]["theirs"] = "x"
    assert step_of(config_map(a="1"), live, settled).action is Action.UNCHANGED
    forget(settled, UID)
    assert step_of(config_map(a="1"), live, settled).action is Action.APPLY


def spoil_value(live):
    live["data"]["a"] = "else"


def spoil_fields(live):
    del live["metadata"]["managedFields"][0]["fieldsV1"]["f:data"]["f:a"]


def spoil_version(live):
    live["metadata"]["managedFields"][0]["apiVersion"] = "v0"


def spoil_entry(live):
    live["metadata"]["managedFields"] = []


def spoil_uid(live):
    live["metadata"]["uid"] = "other"


@pytest.mark.parametrize("spoil", [spoil_value, spoil_fields, spoil_version, spoil_entry, spoil_uid])
def test_a_settlement_ends_with_anything_an_apply_decides_by(spoil):
    settled: Settled = {}
    live = defaulted()
    settle(settled, wanted(config_map(a="1")), live)
    spoilt = copy.deepcopy(live)
    spoil(spoilt)
    assert step_of(config_map(a="1"), spoilt, settled).action is Action.APPLY


def test_what_was_sent_and_is_not_there_is_settled_only_when_a_second_apply_left_it_so():
    settled: Settled = {}
    want = {**config_map(a="1"), "items": []}
    live = owned(config_map(a="1"))
    settle(settled, wanted(want), live)
    assert step_of(want, live, settled).action is Action.APPLY
    settle(settled, wanted(want), live)
    assert step_of(want, live, settled).action is Action.UNCHANGED
    settle(settled, wanted(want), live)
    assert step_of(want, live, settled).action is Action.UNCHANGED


def test_what_is_not_ours_and_was_there_is_missed_when_it_goes():
    settled: Settled = {}
    want = {**config_map(a="1"), "items": []}
    live = {**owned(config_map(a="1")), "items": []}
    settle(settled, wanted(want), live)
    assert step_of(want, live, settled).action is Action.UNCHANGED
    del live["items"]
    assert step_of(want, live, settled).action is Action.APPLY


def test_a_settlement_ends_with_another_wish():
    settled: Settled = {}
    settle(settled, wanted(config_map(a="1")), defaulted())
    assert step_of(config_map(a="2"), defaulted(), settled).action is Action.APPLY


def test_a_change_nobody_owns_up_to_is_said_to_come_from_admission():
    settled: Settled = {}
    live = owned(config_map(a="1"))
    settle(settled, wanted(config_map(a="1")), live)
    live["data"]["a"] = "mutated"
    step = step_of(config_map(a="1"), live, settled)
    assert step.changes == (Change(".data.a", Op.SET, "mutated", "1"),)
    assert step.reasons == (".data.a changed, yet no manager took it: an admission policy or webhook does that",)


def test_a_response_without_our_entry_settles_nothing():
    settled: Settled = {}
    live = defaulted()
    settle(settled, wanted(config_map(a="1")), live)
    spoil_entry(live)
    settle(settled, wanted(config_map(a="1")), live)
    assert settled == {}


def test_a_value_without_its_field_is_missing():
    live = owned(config_map(a="1"))
    assert step_of(config_map(a="1", b="2"), live).changes == (Change(".data.b", Op.SET, MISSING, "2", ours=False),)


def budget(**spec):
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": spec}


def container(**fields):
    return {**stateful_set(), "spec": {"template": {"spec": {"containers": [{"name": "redis", **fields}]}}}}


def volume(**source):
    return {**stateful_set(), "spec": {"template": {"spec": {"volumes": [{"name": "data", **source}]}}}}


def variable(**source):
    return container(env=[{"name": "E", **source}])


@pytest.mark.parametrize(
    ("new", "old", "path"),
    [
        (budget(maxUnavailable=1), budget(minAvailable=1), ".spec.minAvailable"),
        (
            stateful_set(updateStrategy={"type": "OnDelete"}),
            stateful_set(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}),
            ".spec.updateStrategy.rollingUpdate",
        ),
        (volume(emptyDir={}), volume(hostPath={"path": "/"}), 'volumes[name="data"].hostPath'),
        (variable(value="1"), variable(valueFrom={"fieldRef": {}}), 'env[name="E"].valueFrom'),
        (variable(valueFrom={"fieldRef": {"a": 1}}), variable(value="1"), 'env[name="E"].value'),
        (
            variable(valueFrom={"fieldRef": {"a": 1}}),
            variable(valueFrom={"secretKeyRef": {"a": 1}}),
            'env[name="E"].valueFrom.secretKeyRef',
        ),
        (
            container(livenessProbe={"exec": {"a": 1}}),
            container(livenessProbe={"grpc": {"a": 1}}),
            "livenessProbe.grpc",
        ),
    ],
)
def test_what_took_the_place_of_a_field_of_ours_is_replaced_since_an_apply_is_refused(new, old, path):
    live = owned(old)
    live["metadata"]["managedFields"][0]["fieldsV1"] = set_of_fields(wanted(new))
    step = step_of(new, live)
    assert step.action is Action.REPLACE
    (reason,) = step.reasons
    assert reason.endswith("took the place of a field of ours; an apply cannot remove it")
    assert path in reason
    assert [change.path.endswith(path) for change in step.changes if not change.ours] == [True]
    assert request(step)["metadata"]["resourceVersion"] == "1"


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (budget(maxUnavailable=1), budget(maxUnavailable=2)),
        (variable(value="1"), variable(value="2")),
        (
            variable(value=""),
            {**variable(value="", valueFrom={"fieldRef": {}}), "metadata": {"name": "s", "labels": {}}},
        ),
        (container(livenessProbe={"exec": {"a": 1}}), container(livenessProbe={"exec": {"a": 2}, "periodSeconds": 1})),
        (stateful_set(updateStrategy={"type": "OnDelete"}), stateful_set(updateStrategy={"type": "RollingUpdate"})),
    ],
)
def test_what_an_apply_can_change_is_not_replaced(new, old):
    assert step_of(new, owned(old)).action is Action.APPLY


def test_keys_of_data_exclude_nothing():
    live = owned(config_map(exec="1", value="x"))
    live["data"] = {"exec": "2", "grpc": "x", "value": "x", "valueFrom": "y"}
    step = step_of(config_map(exec="1", value="x"), live)
    assert step.action is Action.APPLY
    assert [change.path for change in step.changes] == [".data.exec"]


def test_what_others_add_to_the_spec_stands_in_the_way_of_nothing():
    live = owned(stateful_set())
    live["spec"] |= {"podManagementPolicy": "Parallel", "minReadySeconds": 3}
    assert step_of(stateful_set(replicas=2), live).action is Action.APPLY
