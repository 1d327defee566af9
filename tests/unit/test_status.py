from copy import deepcopy
from typing import Any

import pytest

from redisop.api import RedisHttpInstance
from redisop.conditions import Reason, find
from redisop.errors import ApiError, Cause, Conflict, ConnectionFailed, RedisopError
from redisop.kinds import Object, Ref
from redisop.observation import ConfigState, Failure, Observation
from redisop.plan import Action, Change, Op, Plan, Step
from redisop.status import instance_status, unreadable_status
from tests.unit import observed
from tests.unit.observed import KEY, NEW, NOW, OLD, seen

LATER = "2026-03-01T12:05:00Z"
APPLIED = ConfigState(True, Reason.AS_WANTED, "Redis uses every directive that is wanted.", (), "8.2.1")
UNREACHABLE = ConfigState(False, Reason.REDIS_UNREACHABLE, "Redis cannot be reached.")
HEALTHY = (observed.stateful_set(), observed.pod(), observed.service(), observed.config_map())


class Refused(RedisopError):
    reason = "ImageNotAllowed"
    field = ".spec.image"


def status(observation: Observation, instance: RedisHttpInstance | None = None, before: Object | None = None) -> Object:
    return instance_status(instance or observed.instance(), before or {}, observation, NOW)


def condition(value: Object, kind: str) -> Any:
    found = find(value["conditions"], kind)
    assert found is not None, f"no condition {kind}"
    return found


def states(value: Object) -> dict[str, str]:
    return {item["type"]: item["status"] for item in value["conditions"]}


def step(kind: str = "Service", name: str = "demo-redis", action: Action = Action.APPLY, *changes: Change) -> Step:
    return Step(action, Ref("v1", kind, "team", name), 0, {}, {}, changes)


def failed(error: RedisopError, kind: str = "Service", *changes: Change) -> Observation:
    return seen(*HEALTHY, config=APPLIED, failures=(Failure(step(kind, "demo-redis", Action.APPLY, *changes), error),))


def forbidden(text: str) -> ApiError:
    return ApiError(text, code=403, reason="Forbidden")


def test_a_serving_instance():
    value = status(seen(*HEALTHY, config=APPLIED), observed.instance(generation=4))
    assert value["phase"] == "Running"
    assert value["observedGeneration"] == 4
    assert value["readyReplicas"] == 1
    assert value["endpoint"] == {"redis": "redis://demo-redis.team.svc:6379"}
    assert value["redisVersion"] == "8.2.1"
    assert states(value) == {"Ready": "True", "Progressing": "False", "Degraded": "False", "ConfigApplied": "True"}
    assert all(item["observedGeneration"] == 4 for item in value["conditions"])
    assert "storage" not in value
    assert "lastPlan" not in value


def test_the_same_observation_gives_the_same_status_at_any_time():
    observation = seen(*HEALTHY, config=APPLIED)
    first = status(observation)
    assert instance_status(observed.instance(), deepcopy(first), observation, LATER) == first


TROUBLE = [
    observed.waiting("ImagePullBackOff", 'Back-off pulling image "redis:nope": ErrImagePull: not found'),
    observed.waiting("CrashLoopBackOff", "back-off 40s", restartCount=4, lastState={"terminated": {"exitCode": 1}}),
    observed.unscheduled("0/3 nodes are available: 3 Insufficient memory."),
]


@pytest.mark.parametrize("child", TROUBLE)
def test_trouble_that_lasts_is_not_written_again(child):
    observation = seen(observed.stateful_set(), child)
    first = status(observation)
    assert instance_status(observed.instance(), deepcopy(first), observation, LATER) == first


def test_a_crash_loop_reads_the_same_with_every_restart():
    ended = {"terminated": {"exitCode": 1, "reason": "Error"}}
    rounds = [
        observed.unready({"running": {"startedAt": NOW}}, restartCount=3, lastState=ended, started=False),
        observed.waiting("CrashLoopBackOff", "back-off 40s restarting", restartCount=3, lastState=ended),
        observed.unready({"running": {"startedAt": NOW}}, restartCount=4, lastState=ended, started=False),
        observed.unready(ended, restartCount=4, lastState=ended, started=False),
    ]
    first = status(seen(observed.stateful_set(), rounds[0]))
    assert first["phase"] == "Failed"
    for child in rounds:
        assert (
            instance_status(observed.instance(), deepcopy(first), seen(observed.stateful_set(), child), LATER) == first
        )


def test_ready_falls_with_the_pod_and_keeps_its_time_while_it_is_down():
    up = status(seen(*HEALTHY, config=APPLIED))
    fallen = observed.unready({"running": {"startedAt": "2026-03-01T11:58:30Z"}}, since="2026-03-01T12:04:00Z")
    down = instance_status(observed.instance(), up, seen(observed.stateful_set(), fallen), LATER)
    assert down["phase"] == "Pending"
    assert down["readyReplicas"] == 0
    assert condition(down, "Ready")["status"] == "False"
    assert condition(down, "Ready")["reason"] == "PodNotReady"
    assert condition(down, "Ready")["lastTransitionTime"] == LATER
    assert condition(down, "Degraded")["status"] == "True"
    gone = instance_status(observed.instance(), down, seen(observed.stateful_set()), "2026-03-01T12:06:00Z")
    assert condition(gone, "Ready")["reason"] == "PodMissing"
    assert condition(gone, "Ready")["lastTransitionTime"] == LATER


# What a Pod, claim or StatefulSet looks like -> phase, reason of Ready, Degraded, and words the message must have.
WORKLOAD = {
    "no stateful set": ((), "Pending", "Applying", "False", ["demo-redis"]),
    "not seen by its controller": (
        (observed.stateful_set(generation=2, observed=1), observed.pod()),
        "Pending",
        "Applying",
        "False",
        ["controller"],
    ),
    "no pod": (
        (observed.stateful_set(),),
        "Pending",
        "PodMissing",
        "False",
        ["kubectl describe statefulset demo-redis"],
    ),
    "unschedulable": (
        (observed.stateful_set(), observed.unscheduled("0/1 nodes are available: 1 Insufficient memory.")),
        "Pending",
        "Unschedulable",
        "True",
        ["Insufficient memory", "spec.scheduling"],
    ),
    "being created": (
        (observed.stateful_set(), observed.waiting("ContainerCreating")),
        "Pending",
        "Starting",
        "False",
        ["node-1"],
    ),
    "image unknown": (
        (observed.stateful_set(), observed.waiting("ErrImagePull", "rpc error: code = NotFound: not found")),
        "Failed",
        "ImagePullFailed",
        "True",
        ["docker.io/library/redis:8.2", "no such image", "spec.version"],
    ),
    "image refused": (
        (observed.stateful_set(), observed.waiting("ImagePullBackOff", "pull access denied")),
        "Failed",
        "ImagePullFailed",
        "True",
        ["refuses access"],
    ),
    "image name wrong": (
        (observed.stateful_set(), observed.waiting("InvalidImageName")),
        "Failed",
        "ImagePullFailed",
        "True",
        ["not valid"],
    ),
    "missing secret key": (
        (
            observed.stateful_set(),
            observed.waiting("CreateContainerConfigError", 'secret "demo-redis-credentials" not found'),
        ),
        "Failed",
        "ContainerFailed",
        "True",
        ["demo-redis-credentials"],
    ),
    "first crash": (
        (observed.stateful_set(), observed.unready({"terminated": {"exitCode": 137, "reason": "OOMKilled"}})),
        "Pending",
        "CrashLoop",
        "True",
        ["OOMKilled", "spec.redisConfig.memory"],
    ),
    "exporter crashes": (
        (
            observed.stateful_set(),
            observed.waiting("CrashLoopBackOff", name="exporter", lastState={"terminated": {"exitCode": 2}}),
        ),
        "Failed",
        "CrashLoop",
        "True",
        ["container exporter", "exit code 2"],
    ),
    "starting": (
        (observed.stateful_set(), observed.unready({"running": {"startedAt": "2026-03-01T11:59:30Z"}}, started=False)),
        "Pending",
        "Starting",
        "False",
        ["loads its data"],
    ),
    "before its first probe": (
        (observed.stateful_set(), observed.unready({"running": {"startedAt": "2026-03-01T11:59:30Z"}})),
        "Pending",
        "Starting",
        "False",
        ["probe"],
    ),
}


@pytest.mark.parametrize("case", WORKLOAD, ids=list(WORKLOAD))
def test_what_the_workload_shows(case):
    objects, phase, reason, degraded, words = WORKLOAD[case]
    value = status(seen(*objects))
    ready = condition(value, "Ready")
    assert (value["phase"], ready["status"], ready["reason"]) == (phase, "False", reason)
    assert condition(value, "Degraded")["status"] == degraded
    assert condition(value, "Progressing")["status"] == ("False" if phase == "Failed" else "True")
    for word in words:
        assert word in ready["message"]


@pytest.mark.parametrize(
    "message",
    [
        '0/1 nodes are available: storageclass.storage.k8s.io "fast" not found',
        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found",
    ],
)
def test_a_missing_storage_class_is_named(message):
    value = status(
        seen(observed.stateful_set(), observed.unscheduled(message), observed.claim("Pending", None)),
        observed.persistent(),
    )
    assert (value["phase"], condition(value, "Ready")["reason"]) == ("Failed", "StorageClassMissing")
    assert '"fast"' in condition(value, "Ready")["message"]


def test_an_error_of_the_scheduler_is_no_news():
    child = observed.unscheduled("running PreBind plugin: Operation cannot be fulfilled")
    child["status"]["conditions"][0]["reason"] = "SchedulerError"
    value = status(seen(observed.stateful_set(), child))
    assert (value["phase"], condition(value, "Ready")["reason"]) == ("Pending", "Starting")
    assert condition(value, "Degraded")["status"] == "False"


def test_a_lost_node_is_named():
    child = observed.pod()
    child["status"]["conditions"][1].update(status="False", lastTransitionTime=LATER)
    ready = condition(status(seen(observed.stateful_set(), child)), "Ready")
    assert ready["reason"] == "PodNotReady"
    assert "node-1 may be lost" in ready["message"]


def test_a_pod_that_is_being_deleted_does_not_count_as_ready():
    child = observed.pod()
    child["metadata"]["deletionTimestamp"] = NOW
    value = status(seen(observed.stateful_set(), child, config=APPLIED))
    assert value["readyReplicas"] == 0
    assert condition(value, "Ready")["reason"] == "Stopping"


def test_an_evicted_pod_says_so():
    child = observed.pod()
    child["status"] = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
    assert "Evicted: The node was low" in condition(status(seen(observed.stateful_set(), child)), "Ready")["message"]


def test_a_pod_of_somebody_else_is_not_ours():
    foreign = observed.pod()
    foreign["metadata"]["ownerReferences"] = [observed.owned("other", "StatefulSet", "demo-redis")]
    value = status(seen(observed.stateful_set(), foreign, observed.service("other"), config=APPLIED))
    assert value["readyReplicas"] == 0
    assert "endpoint" not in value
    assert condition(value, "Ready")["reason"] == "PodMissing"


def test_a_pod_that_stays_missing_becomes_a_problem():
    observation = seen(observed.stateful_set())
    first = status(observation)
    soon = instance_status(observed.instance(), first, observation, "2026-03-01T12:00:29Z")
    assert condition(soon, "Degraded")["status"] == "False"
    late = instance_status(observed.instance(), soon, observation, "2026-03-01T12:00:30Z")
    assert condition(late, "Degraded")["status"] == "True"
    assert instance_status(observed.instance(), late, observation, LATER) == late


def test_refusals_and_conflicts_need_a_human():
    refused = status(seen(*HEALTHY, config=APPLIED, refusal=Refused("image evil/redis is not on the allow-list")))
    assert (refused["phase"], condition(refused, "Ready")["reason"]) == ("Failed", "ImageNotAllowed")
    assert condition(refused, "Ready")["message"].startswith(".spec.image: image evil/redis")
    assert refused["readyReplicas"] == 1

    taken = Plan(KEY, (Step(Action.CONFLICT, Ref("v1", "Service", "team", "demo-redis"), 0, {}, {}),))
    conflict = status(seen(*HEALTHY, config=APPLIED, plan=taken))
    assert (conflict["phase"], condition(conflict, "Ready")["reason"]) == ("Failed", "NameConflict")
    assert "Service/demo-redis exists" in condition(conflict, "Ready")["message"]


def test_conflicts_say_what_the_plan_says():
    def message(reason: str) -> Any:
        found = Step(Action.CONFLICT, Ref("v1", "Service", "team", "demo-redis"), 0, {}, {}, reasons=(reason,))
        return condition(status(seen(*HEALTHY, config=APPLIED, plan=Plan(KEY, (found,)))), "Ready")

    taken = message("NameConflict: Service/demo-redis exists and has no controller owner; it is left alone")
    assert taken["reason"] == "NameConflict"
    assert taken["message"].startswith("Service/demo-redis exists and has no controller owner")
    fixed = message("ImmutableField: .spec.clusterIP cannot be changed in place")
    assert fixed["reason"] == "ImmutableField"
    assert fixed["message"].startswith("Service/demo-redis: .spec.clusterIP cannot be changed in place")


FAILURES = {
    "unreachable": (
        failed(ConnectionFailed("the API server gave no answer")),
        "Pending",
        "ConnectionFailed",
        ["no answer"],
    ),
    "overloaded": (
        failed(ApiError("try later", code=429, reason="TooManyRequests")),
        "Pending",
        "ApplyFailed",
        ["again"],
    ),
    "invalid": (
        failed(ApiError("bad", code=422, reason="Invalid", causes=[Cause("FieldValueInvalid", ".spec.ports", "bad")])),
        "Failed",
        "ApplyFailed",
        [".spec.ports", "Service/demo-redis"],
    ),
    "quota": (
        failed(
            forbidden("services is forbidden: exceeded quota: team-quota, requested: services=1, limited: services=0")
        ),
        "Failed",
        "QuotaExceeded",
        ["team-quota", "Raise the ResourceQuota"],
    ),
    "pod security": (
        failed(forbidden('violates PodSecurity "restricted:latest": runAsNonRoot != true')),
        "Failed",
        "AdmissionRefused",
        ["restricted:latest"],
    ),
    "webhook": (
        failed(ApiError('admission webhook "policy.corp" denied the request: no', code=400, reason="BadRequest")),
        "Failed",
        "AdmissionRefused",
        ["policy.corp"],
    ),
    "rights": (
        failed(
            forbidden('services is forbidden: User "system:serviceaccount:redisop" cannot patch resource "services"')
        ),
        "Failed",
        "Forbidden",
        ["cannot patch", "RBAC"],
    ),
    "node too small to resize": (
        failed(
            ApiError(
                "pods is forbidden: node didn't have enough allocatable resources: memory, requested: 9, allocatable: 2",
                code=403,
                reason="Forbidden",
                causes=[Cause("NodeCapacity", "", "")],
            ),
            "Pod",
        ),
        "Failed",
        "ResizePending",
        ["allocatable: 2", "delete the Pod"],
    ),
    "namespace going": (
        failed(
            ApiError(
                "unable to create new content in namespace team because it is being terminated",
                code=403,
                reason="Forbidden",
                causes=[Cause("NamespaceTerminating", "metadata.namespace", "")],
            )
        ),
        "Pending",
        "Terminating",
        ["namespace"],
    ),
    "not expandable": (
        failed(
            forbidden(
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
            ),
            "PersistentVolumeClaim",
        ),
        "Failed",
        "ExpansionFailed",
        ["allowVolumeExpansion"],
    ),
    "field fight": (
        failed(
            Conflict(
                "conflict",
                code=409,
                causes=[Cause("FieldManagerConflict", ".spec.replicas", 'conflict with "hpa" using apps/v1')],
            )
        ),
        "Pending",
        "FieldConflict",
        [".spec.replicas", '"hpa"'],
    ),
    "immutable": (
        failed(
            ApiError(
                "StatefulSet.apps is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas', "
                "'template' are forbidden",
                code=422,
                reason="Invalid",
                causes=[Cause("FieldValueForbidden", "spec", "updates to statefulset spec … are forbidden")],
            ),
            "StatefulSet",
            Change(".spec.template.spec.hostname", Op.SET, 1, 2),
            Change(".spec.serviceName", Op.SET, "a", "b"),
        ),
        "Failed",
        "ImmutableField",
        [".spec.serviceName cannot be changed"],
    ),
    "immutable elsewhere": (
        failed(
            ApiError(
                "Service is invalid: spec.clusterIP: Invalid value: field is immutable",
                code=422,
                reason="Invalid",
                causes=[Cause("FieldValueInvalid", "spec.clusterIP", "field is immutable")],
            )
        ),
        "Failed",
        "ImmutableField",
        ["spec.clusterIP cannot be changed"],
    ),
}


@pytest.mark.parametrize("case", FAILURES, ids=list(FAILURES))
def test_what_a_failed_write_means(case):
    observation, phase, reason, words = FAILURES[case]
    value = status(observation)
    ready = condition(value, "Ready")
    assert (value["phase"], ready["status"], ready["reason"]) == (phase, "False", reason)
    for word in words:
        assert word in ready["message"]


def test_a_quota_of_secrets_is_named():
    value = status(failed(forbidden('secrets "demo-redis-acl" is forbidden: exceeded quota: tight'), "Secret"))
    assert condition(value, "Ready")["reason"] == "QuotaExceeded"
    assert "exceeded quota: tight" in condition(value, "Ready")["message"]


def test_what_the_server_says_about_a_secret_is_not_repeated():
    error = ApiError(
        'failed to create typed patch object (demo; v1, Kind=Secret): .data.p: expected string, got &"hunter2"',
        code=500,
        reason="InternalError",
    )
    value = status(failed(error, "Secret"))
    assert "hunter2" not in str(value)
    assert "500 InternalError" in condition(value, "Ready")["message"]


def test_the_worst_problem_leads_and_degraded_lists_all():
    observation = seen(
        observed.stateful_set(),
        observed.unscheduled("0/1 nodes are available."),
        failures=(Failure(step(), forbidden("exceeded quota: q")),),
    )
    value = status(observation)
    assert condition(value, "Ready")["reason"] == "QuotaExceeded"
    assert condition(value, "Progressing")["reason"] == "Unschedulable"
    assert "exceeded quota" in condition(value, "Degraded")["message"]
    assert "0/1 nodes" in condition(value, "Degraded")["message"]


def test_a_plan_that_is_not_carried_out_yet_is_progress():
    left = Plan(KEY, (step(action=Action.CREATE), step("Secret", "demo-redis-acl", Action.CREATE)))
    value = status(seen(*HEALTHY, config=APPLIED, plan=left, done=(left.steps[0],)))
    assert condition(value, "Ready")["reason"] == "Applying"
    assert "Secret/demo-redis-acl" in condition(value, "Ready")["message"]
    assert "Service/demo-redis" not in condition(value, "Ready")["message"]
    assert condition(status(seen(*HEALTHY, config=APPLIED, plan=left, done=left.steps)), "Ready")["status"] == "True"


def test_a_restart_is_announced_with_its_reasons_also_where_no_plan_knows_of_it_yet():
    objects = (observed.stateful_set(NEW, image="redis:9"), observed.pod(OLD, image="redis:8"), *HEALTHY[2:])
    value = status(seen(*objects, config=APPLIED))
    assert (value["phase"], condition(value, "Ready")["reason"]) == ("Pending", "RestartPending")
    assert "image: redis:8 → redis:9" in condition(value, "Progressing")["message"]
    assert condition(value, "Degraded")["status"] == "False"
    restart = Step(Action.RESTART, Ref("v1", "Pod", "team", "demo-redis-0"), 4, None, {}, reasons=("image: a → b",))
    after = status(seen(*HEALTHY, config=APPLIED, done=(restart,)))
    assert after["lastPlan"] == {"time": NOW, "summary": "1 restarted: image: a → b"}


def test_a_resize_is_announced():
    value = status(seen(observed.stateful_set(NEW, memory="1Gi"), observed.pod(OLD), *HEALTHY[2:], config=APPLIED))
    assert (value["phase"], condition(value, "Ready")["reason"]) == ("Pending", "RestartPending")
    assert "resized in place" in condition(value, "Ready")["message"]


def test_a_pod_kept_with_more_memory_than_needed_is_ready_and_says_so():
    value = status(seen(observed.stateful_set(NEW, memory="160Mi"), observed.pod(OLD), config=APPLIED))
    assert value["phase"] == "Running"
    assert "larger limit" in condition(value, "Ready")["message"]


def test_a_resize_is_named_in_the_last_plan():
    resize = Step(
        Action.APPLY,
        Ref("v1", "Pod", "team", "demo-redis-0"),
        4,
        {},
        {},
        reasons=("in place: memory",),
        subresource="resize",
    )
    value = status(seen(*HEALTHY, config=APPLIED, done=(step(), resize)))
    assert value["lastPlan"]["summary"] == "1 changed, 1 resized: in place: memory"


def test_a_resize_that_waits_for_the_node_is_told():
    child = observed.pod()
    pending = {
        "type": "PodResizePending",
        "status": "True",
        "reason": "Deferred",
        "message": "Node didn't have enough memory",
    }
    child["status"]["conditions"].append(pending)
    value = status(seen(observed.stateful_set(), child, config=APPLIED))
    assert (value["phase"], condition(value, "Ready")["reason"]) == ("Pending", "ResizePending")
    assert "Node didn't have enough memory" in condition(value, "Ready")["message"]
    assert value["readyReplicas"] == 1


def test_last_plan_moves_only_with_writes():
    done = (step(action=Action.CREATE), step("Secret", "x", Action.CREATE), step("Secret", "y", Action.APPLY))
    first = status(seen(*HEALTHY, config=APPLIED, done=done))
    assert first["lastPlan"] == {"time": NOW, "summary": "2 created, 1 changed"}
    again = instance_status(observed.instance(), first, seen(*HEALTHY, config=APPLIED), LATER)
    assert again == first
    useless = (step(action=Action.UNCHANGED), step(action=Action.CONFLICT))
    assert instance_status(observed.instance(), first, seen(*HEALTHY, config=APPLIED, done=useless), LATER) == first


def test_paused():
    paused = observed.instance(paused=True)
    up = status(seen(*HEALTHY), paused)
    assert up["phase"] == "Paused"
    assert (condition(up, "Ready")["status"], condition(up, "Ready")["reason"]) == ("Unknown", "Paused")
    assert condition(up, "Progressing")["reason"] == "Paused"
    down = status(seen(observed.stateful_set(), observed.waiting("ImagePullBackOff")), paused)
    assert down["phase"] == "Paused"
    assert (condition(down, "Ready")["status"], condition(down, "Ready")["reason"]) == ("False", "ImagePullFailed")


def test_hibernation():
    asleep = observed.instance(hibernated=True)
    going = status(seen(observed.stateful_set(), observed.pod(), config=APPLIED), asleep)
    assert (going["phase"], condition(going, "Ready")["reason"]) == ("Pending", "Hibernating")
    gone = status(seen(observed.stateful_set()), asleep)
    assert (gone["phase"], gone["readyReplicas"]) == ("Hibernated", 0)
    assert states(gone) == {"Ready": "False", "Progressing": "False", "Degraded": "False"}
    assert "spec.hibernated" in condition(gone, "Ready")["message"]


def test_terminating():
    value = status(seen(*HEALTHY, config=APPLIED), observed.instance(deleted=NOW))
    assert (value["phase"], condition(value, "Ready")["reason"]) == ("Terminating", "Terminating")
    assert states(value) == {"Ready": "False", "Progressing": "True", "Degraded": "False"}


def test_storage_is_shown_as_wanted_and_as_found():
    value = status(seen(*HEALTHY, observed.claim(), config=APPLIED), observed.persistent())
    assert value["storage"] == {"requested": "2Gi", "actual": "2Gi"}
    assert states(value)["StorageReady"] == "True"
    assert states(value)["Ready"] == "True"
    assert "StorageReady" not in states(status(seen(*HEALTHY, observed.claim(), config=APPLIED)))


CLAIMS = {
    "missing": (None, "Pending", "ClaimPending", "False", ["not there yet"]),
    "pending": (
        observed.claim("Pending", None),
        "Pending",
        "ClaimPending",
        "False",
        ['"fast"', "kubectl describe pvc"],
    ),
    "lost": (observed.claim("Lost", None), "Failed", "ClaimLost", "True", ["pv-7"]),
    "growing": (observed.claim(capacity="1Gi"), "Pending", "Expanding", "False", ["from 1Gi to 2Gi"]),
    "cannot grow": (
        observed.claim(
            capacity="1Gi",
            allocatedResourceStatuses={"storage": "ControllerResizeInfeasible"},
            conditions=[{"type": "ControllerResizeError", "status": "True", "message": "quota of disk type"}],
        ),
        "Pending",
        "ExpansionFailed",
        "True",
        ["quota of disk type"],
    ),
}


@pytest.mark.parametrize("case", CLAIMS, ids=list(CLAIMS))
def test_what_the_claim_shows(case):
    found, phase, reason, degraded, words = CLAIMS[case]
    objects = (*HEALTHY, found) if found else HEALTHY
    value = status(seen(*objects, config=APPLIED), observed.persistent())
    for kind in ("Ready", "StorageReady"):
        assert (condition(value, kind)["status"], condition(value, kind)["reason"]) == ("False", reason)
    assert value["phase"] == phase
    assert condition(value, "Degraded")["status"] == degraded
    for word in words:
        assert word in condition(value, "StorageReady")["message"]


def test_a_claim_without_a_class_needs_somebody():
    without = observed.claim("Pending", None)
    del without["spec"]["storageClassName"]
    value = status(seen(*HEALTHY, without, config=APPLIED), observed.persistent())
    assert condition(value, "Degraded")["status"] == "True"
    assert "no default" in condition(value, "StorageReady")["message"]


CONFIGS = {
    "refused": (ConfigState(False, Reason.CONFIG_REFUSED, "hz 0"), "Failed", "False", "False"),
    "login": (ConfigState(False, Reason.LOGIN_REFUSED, "no"), "Failed", "False", "False"),
    "replica": (ConfigState(False, Reason.READ_ONLY, "no"), "Failed", "False", "False"),
    "loading": (ConfigState(False, Reason.LOADING, "loading"), "Pending", "False", "False"),
    "no room yet": (ConfigState(False, Reason.RESTART_PENDING, "keeps 64Mi"), "Pending", "False", "False"),
}


@pytest.mark.parametrize("case", CONFIGS, ids=list(CONFIGS))
def test_what_redis_says_about_its_configuration(case):
    config, phase, ready, applied = CONFIGS[case]
    value = status(seen(*HEALTHY, config=config))
    assert value["phase"] == phase
    assert condition(value, "Ready")["status"] == ready
    assert condition(value, "Ready")["reason"] == config.reason
    assert (condition(value, "ConfigApplied")["status"], condition(value, "ConfigApplied")["reason"]) == (
        applied,
        config.reason,
    )


def test_loading_explains_a_pod_that_is_not_ready():
    child = observed.unready({"running": {"startedAt": "2026-03-01T11:59:30Z"}}, started=False)
    value = status(
        seen(observed.stateful_set(), child, config=ConfigState(False, Reason.LOADING, "is loading its data"))
    )
    assert condition(value, "Ready")["reason"] == "Loading"


def test_a_refused_login_explains_a_pod_that_is_not_ready():
    child = observed.unready({"running": {"startedAt": "2026-03-01T11:59:30Z"}}, since="2026-03-01T11:59:50Z")
    value = status(
        seen(observed.stateful_set(), child, config=ConfigState(False, Reason.LOGIN_REFUSED, "Delete the Pod"))
    )
    assert (value["phase"], condition(value, "Ready")["reason"]) == ("Failed", "LoginRefused")
    assert condition(value, "Ready")["message"] == "Delete the Pod"


def test_an_unreachable_redis_that_read_the_present_file_at_start_is_ready_but_not_compared():
    value = status(seen(*HEALTHY, config=UNREACHABLE))
    assert value["phase"] == "Running"
    assert condition(value, "ConfigApplied")["status"] == "Unknown"
    assert condition(value, "ConfigApplied")["reason"] == "RedisUnreachable"


def test_an_unreachable_redis_that_started_before_the_file_was_written_is_not_ready():
    objects = (observed.stateful_set(), observed.pod(), observed.config_map(written="2026-03-01T11:59:59Z"))
    value = status(seen(*objects, config=UNREACHABLE))
    assert value["phase"] == "Pending"
    assert condition(value, "Ready")["reason"] == "RedisUnreachable"
    assert condition(value, "ConfigApplied")["status"] == "False"


def test_a_redis_that_was_not_asked_since_the_file_changed_is_not_ready():
    objects = (observed.stateful_set(), observed.pod(), observed.config_map(written="2026-03-01T11:59:59Z"))
    value = status(seen(*objects))
    assert (value["phase"], condition(value, "Ready")["reason"]) == ("Pending", "NotCompared")
    assert condition(value, "Degraded")["status"] == "False"
    assert condition(value, "ConfigApplied")["status"] == "Unknown"
    assert status(seen(*objects), observed.instance(paused=True))["phase"] == "Paused"


def test_the_version_is_observed_never_wished():
    tagged = status(seen(*HEALTHY), observed.instance(version="9.9"))
    assert tagged["redisVersion"] == "8.2"
    asked = status(seen(*HEALTHY, config=APPLIED))
    assert asked["redisVersion"] == "8.2.1"
    kept = instance_status(observed.instance(), asked, seen(*HEALTHY, config=UNREACHABLE), LATER)
    assert kept["redisVersion"] == "8.2.1"
    changed = instance_status(
        observed.instance(), asked, seen(observed.stateful_set(), observed.pod(image="redis:8.4")), LATER
    )
    assert changed["redisVersion"] == "8.4"
    assert "redisVersion" not in status(seen(observed.stateful_set(), observed.waiting("ContainerCreating")))
    nameless = status(seen(observed.stateful_set(), observed.pod(image="redis@sha256:" + "0" * 64)))
    assert "redisVersion" not in nameless


def test_an_instance_that_cannot_be_read_says_which_field():
    up = status(seen(*HEALTHY, config=APPLIED))
    obj = {"metadata": {"name": "demo", "generation": 7}, "status": up}
    value = unreadable_status(obj, "spec.redisConfig.memory", LATER)
    assert (value["phase"], value["observedGeneration"]) == ("Failed", 7)
    assert condition(value, "Ready") == {
        "type": "Ready",
        "status": "False",
        "reason": "InvalidSpec",
        "message": condition(value, "Ready")["message"],
        "observedGeneration": 7,
        "lastTransitionTime": LATER,
    }
    assert condition(value, "Degraded")["message"].startswith("spec.redisConfig.memory: ")
    assert value["readyReplicas"] == 1
    assert unreadable_status({**obj, "status": value}, "spec.redisConfig.memory", "2027-01-01T00:00:00Z") == value
    assert unreadable_status({"metadata": {}}, "spec", NOW)["phase"] == "Failed"


def test_conditions_of_others_are_not_taken_over():
    before = {"conditions": [{"type": "Audited", "status": "True", "lastTransitionTime": NOW}]}
    assert "Audited" not in states(status(seen(*HEALTHY, config=APPLIED), before=before))


def test_nothing_in_a_status_is_null():
    def nulls(value: Any) -> bool:
        if isinstance(value, dict):
            return any(map(nulls, value.values()))
        return any(map(nulls, value)) if isinstance(value, list) else value is None

    for observation in (seen(), seen(*HEALTHY), seen(*HEALTHY, observed.claim(), config=APPLIED)):
        assert not nulls(status(observation, observed.persistent()))
