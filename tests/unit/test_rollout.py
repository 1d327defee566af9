from typing import Any

import pytest

from redisop import rollout
from redisop.kinds import Object, ref_of
from redisop.plan import MISSING, Action, Change, Op, Plan, Step
from redisop.podtemplate import differences
from redisop.rollout import Fate
from tests.unit import observed
from tests.unit.observed import KEY, NEW, OLD


def plan_of(*steps: Step) -> Plan:
    return Plan(KEY, steps)


def steps(*objects: Object, plan: Plan | None = None, **spec: Any) -> tuple[Step, ...]:
    return rollout.steps(observed.instance(**spec), {ref_of(obj): obj for obj in objects}, plan or plan_of())


def only(steps: tuple[Step, ...]) -> Step:
    assert len(steps) == 1
    return steps[0]


def writing_set(*changes: Change, action: Action = Action.APPLY, replicas: int = 1, **of_template: Any) -> Step:
    live = observed.stateful_set()
    want = {**live, "spec": {"replicas": replicas, "template": observed.template(**of_template)}}
    return Step(action, ref_of(live), 3, want, live, changes)


def test_a_pod_of_the_present_revision_stays():
    assert steps(observed.stateful_set(), observed.pod(NEW)) == ()


def test_an_outdated_pod_is_restarted_with_the_fields_that_differ():
    step = only(steps(observed.stateful_set(image="redis:8.4"), observed.pod(OLD, image="redis:8.2")))
    assert (step.action, step.ref.kind, step.ref.name, step.want) == (Action.RESTART, "Pod", "demo-redis-0", None)
    assert step.live is not None
    assert step.live["metadata"]["uid"] == "pod-1"
    assert step.reasons == (
        '.spec.containers[name="redis"].image: redis:8.2 → redis:8.4',
        rollout.DATA_LOST,
    )


def test_nothing_is_said_to_be_lost_where_the_pod_mounts_a_claim():
    child = observed.pod(OLD, image="redis:8.2")
    child["spec"]["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": "data-demo-redis-0"}})
    parent = observed.stateful_set(image="redis:8.4")
    assert only(steps(parent, child)).reasons[-1] == rollout.STARTS_EMPTY
    parent["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}}]
    assert len(only(steps(parent, child)).reasons) == 1


def test_what_admission_changed_restarts_nothing_by_itself():
    child = observed.pod(NEW, image="mirror.local/redis:8.2")
    child["spec"]["containers"].append({"name": "mesh", "image": "mesh:1"})
    assert steps(observed.stateful_set(image="redis:8.2"), child) == ()


def test_a_directive_read_only_at_start_is_named_not_its_digest():
    child = observed.pod(OLD)
    child["metadata"]["annotations"]["redis.kubegateway.io/restart-config"] = "bbbb"
    step = only(steps(observed.stateful_set(), child))
    assert "redis.conf" in step.reasons[0]
    assert "databases" in step.reasons[0]
    assert "bbbb" not in step.reasons[0]


def test_new_passwords_are_a_reason_without_a_uid():
    parent = observed.stateful_set()
    parent["spec"]["template"]["metadata"]["annotations"]["redis.kubegateway.io/credentials-uid"] = "uid-2"
    step = only(steps(parent, observed.pod(OLD)))
    assert step.reasons[0] == "the Secret of the passwords was made anew"


def removed_something(parent: Object) -> Object:
    parent["spec"]["template"]["metadata"]["annotations"]["redis.kubegateway.io/template-digest"] = "another"
    return parent


def test_a_revision_that_only_removed_something_still_has_a_reason():
    step = only(steps(removed_something(observed.stateful_set()), observed.pod(OLD)))
    assert step.reasons[0] == f"something was removed from the Pod template: revision {OLD} → {NEW}"


def test_less_memory_and_something_removed_restarts():
    parent = removed_something(observed.stateful_set(memory="160Mi"))
    assert only(steps(parent, observed.pod(OLD, memory="1Gi"))).action is Action.RESTART


def test_kubectl_rollout_restart_restarts():
    parent = observed.stateful_set()
    parent["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = observed.NOW
    step = only(steps(parent, observed.pod(OLD)))
    assert step.reasons[0] == f".metadata.annotations.kubectl.kubernetes.io/restartedAt: (none) → {observed.NOW}"


def test_less_memory_alone_keeps_the_pod():
    assert steps(observed.stateful_set(memory="160Mi"), observed.pod(OLD, memory="1Gi")) == ()


def test_more_memory_resizes_the_running_pod():
    step = only(steps(observed.stateful_set(memory="1Gi"), observed.pod(OLD, memory="320Mi")))
    assert (step.action, step.subresource, step.ref.kind) == (Action.APPLY, "resize", "Pod")
    assert step.want is not None
    assert step.want["spec"] == {
        "containers": [
            {"name": "redis", "resources": {"limits": {"memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "1Gi"}}}
        ]
    }
    assert [change.path for change in step.changes] == [
        '.spec.containers[name="redis"].resources.limits.memory',
        '.spec.containers[name="redis"].resources.requests.memory',
    ]
    assert step.reasons[0] == 'in place: .spec.containers[name="redis"].resources.limits.memory: 320Mi → 1Gi'


def test_a_pod_that_was_resized_is_not_touched_again():
    resized = observed.pod(OLD, memory="1Gi")
    resized["status"]["containerStatuses"][0]["resources"] = {"limits": {"memory": "320Mi"}}
    assert steps(observed.stateful_set(memory="1Gi"), resized) == ()


def not_reported(child: Object) -> None:
    del child["status"]["containerStatuses"][0]["resources"]


def limited_by_somebody_else(child: Object) -> None:
    child["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "2"


def guaranteed(child: Object) -> None:
    child["spec"]["containers"][0]["resources"]["requests"] = {"memory": "320Mi"}
    child["spec"]["containers"][0]["resources"]["limits"] = {"memory": "320Mi"}


def larger_but_asking_for_less(child: Object) -> None:
    child["spec"]["containers"][0]["resources"]["limits"]["memory"] = "2Gi"


def not_ready(child: Object) -> None:
    child["status"]["conditions"][1]["status"] = "False"


@pytest.mark.parametrize(
    "spoil", [not_reported, limited_by_somebody_else, guaranteed, larger_but_asking_for_less, not_ready]
)
def test_where_a_resize_cannot_do_it_more_memory_restarts(spoil):
    child = observed.pod(OLD, memory="320Mi")
    spoil(child)
    step = only(steps(observed.stateful_set(memory="1Gi"), child))
    assert step.action is Action.RESTART
    assert rollout.DATA_LOST in step.reasons


def test_a_resize_that_the_node_can_never_give_restarts():
    resized = observed.pod(OLD, memory="1Gi")
    resized["status"]["conditions"].append({"type": "PodResizePending", "status": "True", "reason": "Infeasible"})
    step = only(steps(observed.stateful_set(memory="1Gi"), resized))
    assert step.action is Action.RESTART
    assert step.reasons[0] == "the node cannot give the Pod the resources it wants in place"
    resized["status"]["conditions"][-1]["reason"] = "Deferred"
    assert steps(observed.stateful_set(memory="1Gi"), resized) == ()


def test_less_memory_and_something_else_restarts_for_something_else():
    step = only(
        steps(observed.stateful_set(memory="160Mi", image="redis:9"), observed.pod(OLD, memory="1Gi", image="redis:8"))
    )
    assert step.reasons[0] == '.spec.containers[name="redis"].image: redis:8 → redis:9'
    assert not any("memory:" in reason for reason in step.reasons)


def test_a_pod_that_does_not_serve_is_not_kept_for_having_more_memory_than_needed():
    stuck = observed.waiting("CrashLoopBackOff", revision=OLD)
    assert only(steps(observed.stateful_set(memory="160Mi"), stuck)).action is Action.RESTART


@pytest.mark.parametrize(
    "child",
    [
        observed.waiting("CrashLoopBackOff", revision=OLD),
        observed.waiting("ImagePullBackOff", revision=OLD),
        observed.unready({"running": {"startedAt": observed.NOW}}, revision=OLD),
    ],
)
def test_reverting_recovers_a_pod_that_the_stateful_set_controller_would_wait_for(child):
    assert only(steps(observed.stateful_set(image="redis:9"), child)).action is Action.RESTART


def test_a_pod_that_is_being_deleted_is_left_alone():
    child = observed.pod(OLD)
    child["metadata"]["deletionTimestamp"] = observed.NOW
    assert steps(observed.stateful_set(), child) == ()


def test_nothing_restarts_before_the_controller_has_seen_the_template():
    assert steps(observed.stateful_set(generation=3, observed=2), observed.pod(OLD)) == ()


def test_nothing_restarts_while_the_stateful_set_is_still_to_be_written():
    assert steps(observed.stateful_set(), observed.pod(OLD), plan=plan_of(writing_set())) == ()


@pytest.mark.parametrize("spec", [{"paused": True}, {"hibernated": True}])
def test_paused_and_hibernated_instances_restart_nothing(spec):
    assert steps(observed.stateful_set(), observed.pod(OLD), **spec) == ()


def test_a_pod_or_set_of_somebody_else_is_never_restarted():
    stranger = observed.stateful_set()
    stranger["metadata"]["ownerReferences"] = [observed.owned("other", "RedisHttpInstance", "demo")]
    assert steps(stranger, observed.pod(OLD)) == ()
    foreign = observed.pod(OLD)
    foreign["metadata"]["ownerReferences"] = [observed.owned("other", "StatefulSet", "demo-redis")]
    assert steps(observed.stateful_set(), foreign) == ()
    unlabelled = observed.pod(OLD)
    del unlabelled["metadata"]["labels"]["redis.kubegateway.io/instance"]
    assert steps(observed.stateful_set(), unlabelled) == ()


def test_reasons_are_bounded():
    parent = observed.stateful_set()
    parent["spec"]["template"]["metadata"]["labels"].update({f"label-{number}": "x" for number in range(40)})
    step = only(steps(parent, observed.pod(OLD)))
    assert len(step.reasons) == 10
    assert "and 32 more fields" in step.reasons


def test_lists_are_compared_by_their_keys_and_other_lists_as_a_whole():
    want = observed.template()
    child = observed.pod()
    child["spec"]["volumes"].insert(0, {"name": "token", "projected": {}})
    want["spec"]["containers"][0]["args"] = ["--other"]
    want["spec"]["containers"][0]["ports"].append({"containerPort": 9121, "name": "metrics", "protocol": "TCP"})
    want["spec"]["tolerations"] = [{"key": "not-ready"}, {"key": "gpu"}]
    paths = [difference.path for difference in differences(want, child)]
    assert paths == [
        '.spec.containers[name="redis"].args',
        '.spec.containers[name="redis"].ports[name="metrics"]',
        ".spec.tolerations",
    ]


def test_room_is_judged_by_what_the_kubelet_reports():
    parent = observed.stateful_set(memory="1Gi")
    assert not rollout.has_room(parent, observed.pod(memory="320Mi"))
    assert rollout.has_room(parent, observed.pod(memory="1Gi"))
    assert rollout.has_room(parent, observed.pod(memory="2Gi"))
    resizing = observed.pod(memory="1Gi")
    resizing["status"]["containerStatuses"][0]["resources"] = {"limits": {"memory": "320Mi"}}
    assert not rollout.has_room(parent, resizing)


IMAGE = '.spec.template.spec.containers[name="redis"].image'
MEMORY = '.spec.template.spec.containers[name="redis"].resources.limits.memory'
DIGEST = ".spec.template.metadata.annotations.redis.kubegateway.io/restart-config"


def follows(*planned: Step, objects: tuple[Object, ...] | None = None) -> tuple[Fate, tuple[str, ...]]:
    return rollout.follows(plan_of(*planned), {ref_of(obj): obj for obj in objects or (observed.pod(),)})


def test_a_plan_that_changes_the_template_says_that_a_restart_follows():
    found = follows(writing_set(Change(IMAGE, Op.SET, "redis:8", "redis:9"), image="redis:9"))
    assert found == (
        Fate.RESTART,
        ('.spec.containers[name="redis"].image: redis:8 → redis:9', rollout.DATA_LOST),
    )


def test_what_is_added_and_removed_reads_well():
    changes = (Change(IMAGE, Op.DROP, "x", MISSING), Change(MEMORY, Op.SET, MISSING, "1Gi"))
    _, reasons = follows(writing_set(*changes, image="redis:9"))
    assert reasons[0].endswith("image: x → (none)")
    assert reasons[1].endswith("memory: (none) → 1Gi")


def test_a_plan_for_more_memory_says_that_the_pod_is_resized():
    found = follows(writing_set(Change(MEMORY, Op.SET, "320Mi", "1Gi"), memory="1Gi"))
    assert found == (Fate.RESIZE, ('.spec.containers[name="redis"].resources.limits.memory: 320Mi → 1Gi',))


@pytest.mark.parametrize(
    "step",
    [
        writing_set(Change(".spec.replicas", Op.SET, 0, 1)),
        writing_set(Change(IMAGE, Op.OWN, "redis:8", "redis:8")),
        writing_set(Change(MEMORY, Op.SET, "320Mi", "160Mi"), memory="160Mi"),
        writing_set(Change(IMAGE, Op.SET, "redis:8", "redis:9"), replicas=0, image="redis:9"),
        writing_set(Change(IMAGE, Op.SET, MISSING, "redis:9"), action=Action.CREATE, image="redis:9"),
    ],
)
def test_nothing_follows(step):
    assert follows(step) == (Fate.KEEP, ())


def test_nothing_follows_where_no_pod_runs():
    step = writing_set(Change(IMAGE, Op.SET, "redis:8", "redis:9"), image="redis:9")
    assert follows(step, objects=(observed.service(),)) == (Fate.KEEP, ())


def test_directives_are_named_where_the_plan_knows_them():
    before = observed.config_map(text="databases 16\nhz 10\n")
    after = observed.config_map(text="databases 32\nhz 20\n")
    config = Step(Action.APPLY, ref_of(after), 0, after, before)
    changed = writing_set(Change(DIGEST, Op.SET, "aaaa", "bbbb"))
    assert changed.want is not None
    removed_something(changed.want)
    _, reasons = follows(config, changed)
    assert reasons[0] == "redis.conf: databases 16 → 32, which Redis reads only at start"
    assert not any("hz" in reason for reason in reasons)
