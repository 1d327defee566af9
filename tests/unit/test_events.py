"""What becomes an Event, and what the recorder does when Events cannot be written; real ones are in tests/controlplane."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

from redisop import events, recorder
from redisop.conditions import Reason, set_condition
from redisop.events import EventReason, EventSpec, events_of
from redisop.kinds import Ref
from redisop.plan import MISSING, Action, Change, Op, Settled, Step, plan_object, settle
from redisop.recorder import Recorder, microtime
from tests.unit.objects import OWNER_UID, applied, other
from tests.unit.wire import failure, reply, wire

PLANTED = base64.b64encode(b"hunter2").decode()
INSTANCE: dict[str, Any] = {
    "apiVersion": "redis.kubegateway.io/v1alpha1",
    "kind": "RedisHttpInstance",
    "metadata": {"name": "demo", "namespace": "team", "uid": OWNER_UID, "generation": 2},
    "spec": {},
}
NOW = "2026-01-01T00:00:00Z"


def step(action, kind="ConfigMap", name="demo-redis", changes=(), reasons=(), **more):
    ref = Ref("v1", kind, "team", name)
    return Step(action, ref, 0, None, None, tuple(changes), tuple(reasons), **more)


def status(phase, generation=2, **conditions):
    found: list[dict[str, Any]] = []
    for kind, (verdict, reason, message) in conditions.items():
        found = set_condition(found, kind, verdict, reason, message, generation, NOW)
    return {"phase": phase, "observedGeneration": generation, "conditions": found}


RUNNING = status("Running", Ready=("True", "Serving", "It serves."), Degraded=("False", "AsWanted", "No problem."))
PULL = status(
    "Failed",
    Ready=("False", "ImagePullFailed", "No image."),
    Degraded=("True", "ImagePullFailed", "No image."),
)


def told(done=(), before=RUNNING, after=None):
    return [(str(spec.reason), spec.note) for spec in events_of(2, done, before, after)]


def test_a_pass_that_did_nothing_and_turned_nothing_tells_nothing():
    assert told() == []
    assert told(after=RUNNING) == []
    assert told([step(Action.APPLY, subresource="status")], after=RUNNING) == []
    assert told(before=PULL, after=PULL) == []


def test_the_first_objects_are_one_event():
    done = [step(Action.CREATE), step(Action.CREATE, "Secret", "demo-redis-acl")]
    assert told(done, before={}) == [("Created", "ConfigMap/demo-redis, Secret/demo-redis-acl")]


def test_an_object_that_went_missing_is_drift():
    done = [step(Action.CREATE)]
    assert told(done) == [("DriftCorrected", "ConfigMap/demo-redis was missing and has been created")]
    assert told(done, before=status("Running", generation=1))[0][0] == "Created", "the spec asks for more than before"


def test_a_change_of_ours_names_its_fields():
    changes = [
        Change(".spec.replicas", Op.SET, 1, 0),
        Change(".data.x", Op.DROP, "a", MISSING),
        Change(".spec.y", Op.OWN, 1, 1, "kubectl", ours=False),
    ]
    assert told([step(Action.APPLY, changes=changes)]) == [
        ("Changed", 'ConfigMap/demo-redis: .spec.replicas 1 → 0; .data.x "a" → (none); .spec.y (taken over)')
    ]


def test_a_text_of_lines_shows_the_lines_that_changed():
    change = Change('.data["redis.conf"]', Op.SET, "port 6379\nmaxmemory 1\n", "port 6379\nmaxmemory 2\n")
    assert told([step(Action.APPLY, changes=[change])])[0][1].endswith("[-maxmemory 1, +maxmemory 2]")


def test_drift_names_the_field_and_who_did_it_and_no_time():
    drifted = Change(".spec.replicas", Op.SET, 0, 1, "kubectl-scale", "2026-01-01T00:00:00Z", ours=False)
    ours = Change(".data.x", Op.SET, "a", "b")
    first = step(Action.APPLY, changes=[drifted, ours])
    assert told([first]) == [
        ("DriftCorrected", "ConfigMap/demo-redis: .spec.replicas 0 → 1 (changed by kubectl-scale)"),
        ("Changed", 'ConfigMap/demo-redis: .data.x "a" → "b"'),
    ]
    later = step(Action.APPLY, changes=[replace(drifted, time="2026-01-01T00:00:09Z"), ours])
    assert events_of(2, [first], RUNNING) == events_of(2, [later], RUNNING), "or it would never make a series"


def test_what_nobody_owns_is_drift_where_the_same_was_applied_before():
    want = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "team", "labels": {"a": "b"}},
        "data": {"x": "1"},
    }
    live = applied(want)
    settled: Settled = {}
    settle(settled, want, live)
    stripped = applied({**want, "metadata": {"name": "c", "namespace": "team"}}, others=[other("edit", {})])
    known = plan_object(want, stripped, settled, owner_uid=None)
    unknown = plan_object(want, stripped, {}, owner_uid=None)
    assert known.action is unknown.action is Action.APPLY
    assert [change.path for change in events.drift(known)] == [change.path for change in known.changes]
    assert events.drift(unknown) == (), "an operator that just started cannot tell it from a wish of its own"


def test_restarts_replacements_and_deletions_say_why():
    done = [
        step(Action.REPLACE, "StatefulSet", reasons=["ImmutableField: .spec.volumeClaimTemplates"]),
        step(Action.CREATE, "StatefulSet"),
        step(Action.DELETE, "Service", "old"),
        step(Action.RESTART, "Pod", "demo-redis-0", reasons=[".spec.containers[0].image: a → b", "data is lost"]),
    ]
    assert told(done) == [
        (
            "Replaced",
            "StatefulSet/demo-redis was made anew, its Pod and data kept: ImmutableField: .spec.volumeClaimTemplates",
        ),
        ("Restarted", "Pod/demo-redis-0: .spec.containers[0].image: a → b; data is lost"),
        ("Deleted", "Service/old: no longer wanted"),
    ]


def test_a_resize_and_what_follows_from_it_are_told_once():
    path = '.spec.containers[name="redis"].resources.limits.memory'
    digest = Change(".spec.template.metadata.annotations.redis.kubegateway.io/template", Op.SET, "a", "b")
    limit = Change(".spec.template" + path, Op.SET, "1Gi", "2Gi")
    resize = Change(path, Op.SET, "1Gi", "2Gi")
    done = [
        step(Action.APPLY, "StatefulSet", changes=[digest, limit]),
        step(Action.APPLY, "Pod", "demo-redis-0", changes=[resize], subresource="resize"),
    ]
    assert told(done) == [
        ("Changed", f'StatefulSet/demo-redis: .spec.template{path} "1Gi" → "2Gi"'),
        ("Resized", f'Pod/demo-redis-0, without a restart: {path} "1Gi" → "2Gi"'),
    ]
    assert told([step(Action.APPLY, "StatefulSet", changes=[digest])])[0][0] == "Changed"


def test_conditions_are_told_when_they_turn():
    assert told(before={}, after=PULL) == [("ImagePullFailed", "No image.")]
    assert events_of(2, (), {}, PULL)[0].warning
    assert told(before=PULL, after=RUNNING) == [("Recovered", "ImagePullFailed is over. It serves.")]
    pending = status("Pending", Ready=("False", "Starting", "It starts."), Degraded=("False", "AsWanted", "-"))
    assert told(before=pending, after=RUNNING) == [("Ready", "It serves.")]
    assert told(before=RUNNING, after=pending) == [("NotReady", "It starts.")]
    assert told(before=PULL, after=pending) == [("Recovered", "ImagePullFailed is over.")]
    assert told(before={}, after=pending) == []
    unseen = status("Pending", Ready=("False", "Applying", "Not caught up."), Degraded=("False", "AsWanted", "-"))
    assert told(before=RUNNING, after=unseen) == []
    assert told(before=unseen, after=RUNNING) == [("Ready", "It serves.")]
    other_problem = status("Failed", Degraded=("True", "CrashLoop", "It ends."), Ready=("False", "CrashLoop", "-"))
    assert told(before=PULL, after=other_problem) == [("CrashLoop", "It ends.")]
    reworded = status("Failed", Degraded=("True", "CrashLoop", "It ends, again."), Ready=("False", "CrashLoop", "-"))
    assert told(before=other_problem, after=reworded) == []


def test_what_the_user_asked_for_is_no_failure():
    paused = status("Paused", Ready=("Unknown", "Paused", "Paused."), Degraded=("False", "AsWanted", "-"))
    asleep = status("Hibernated", Ready=("False", "Hibernated", "Asleep."), Degraded=("False", "AsWanted", "-"))
    assert told(before=RUNNING, after=paused) == [("Paused", "Paused.")]
    assert [reason for reason, _ in told(before=paused, after=RUNNING)] == ["Resumed", "Ready"]
    assert told(before=RUNNING, after=asleep) == [("Hibernated", "Asleep.")]
    assert not any(spec.warning for spec in events_of(2, (), RUNNING, asleep))


def test_no_value_of_a_secret_is_told():
    change = Change(".data.password", Op.SET, PLANTED, base64.b64encode(b"other").decode(), "kubectl-edit", ours=False)
    copied = Change('.metadata.annotations["x"]', Op.SET, PLANTED, "y", "kubectl-edit", ours=False)
    notes = str(told([step(Action.APPLY, "Secret", changes=[change, copied])]))
    assert PLANTED not in notes
    assert "other" not in notes
    assert ".data.password (hidden) → (hidden, changed) (changed by kubectl-edit)" in notes


def test_a_note_is_one_printable_line_within_the_limit():
    done = [step(Action.CREATE, name="ä" * 250 + str(number)) for number in range(20)]
    note = told(done, before={})[0][1]
    assert 1000 < len(note.encode()) <= events.NOTE_LIMIT
    assert note.endswith("…")
    change = Change(".data.x", Op.SET, "a\x1b[31m\nb", "c", "evil\r\nname", ours=False)
    assert told([step(Action.APPLY, changes=[change])])[0][1].isprintable()


def test_a_microtime_has_six_digits_even_on_the_full_second():
    assert microtime(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000000Z"


SPEC = EventSpec(EventReason.CHANGED, "a note")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Fates(list[str]):
    def __call__(self, fate):
        self.append(fate)


async def written(rec, *, seconds=5.0):
    await rec.drain(seconds)


def ok():
    return reply("200 OK", {"metadata": {"uid": "u"}})


async def test_the_same_again_is_a_series_of_one_event():
    clock, fates = Clock(), Fates()
    async with wire(ok(), ok(), ok()) as (client, server):
        rec = Recorder(client, "pod-1", counted=fates, clock=clock)
        rec.record(INSTANCE, SPEC)
        await written(rec)
        for _ in range(3):
            rec.record(INSTANCE, SPEC)
        await written(rec)
        clock.now += recorder.WINDOW + 1
        rec.record(INSTANCE, SPEC)
        await written(rec)
    bodies = [decoded(request) for request in server.requests]
    assert [body.get("series", {}).get("count") for body in bodies] == [None, 4, None]
    assert bodies[0]["metadata"]["resourceVersion"] == "1"
    assert bodies[1]["metadata"]["name"] == bodies[0]["metadata"]["name"] != bodies[2]["metadata"]["name"]
    assert bodies[1]["metadata"]["uid"] == "u"
    assert bodies[1]["eventTime"] == bodies[0]["eventTime"]
    assert fates == ["written"] * 3


def decoded(request):
    return json.loads(request[2])


async def test_a_series_whose_event_expired_begins_anew():
    async with wire(ok(), failure(409, "gone"), ok()) as (client, server):
        rec = Recorder(client, "pod-1")
        rec.record(INSTANCE, SPEC)
        await written(rec)
        rec.record(INSTANCE, SPEC)
        await written(rec)
    first, refused, again = (decoded(request) for request in server.requests)
    assert refused["metadata"]["name"] == first["metadata"]["name"] != again["metadata"]["name"]
    assert "series" not in again
    assert again["metadata"]["resourceVersion"] == "1"


async def test_a_burst_about_one_object_is_cut_off_and_others_are_not():
    clock, fates = Clock(), Fates()
    async with wire() as (client, _):
        rec = Recorder(client, "pod-1", counted=fates, clock=clock)
        for number in range(recorder.BURST + 10):
            rec.record(INSTANCE, EventSpec(EventReason.CHANGED, str(number)))
        assert fates == ["limited"] * 10
        quiet = {**INSTANCE, "metadata": {**INSTANCE["metadata"], "uid": "quiet"}}
        rec.record(quiet, SPEC)
        clock.now += recorder.REFILL
        rec.record(INSTANCE, SPEC)
        assert len(rec) == recorder.BURST + 2
        rec.record(INSTANCE, EventSpec(EventReason.CHANGED, "one too many"))
        assert fates == ["limited"] * 11


async def test_what_waits_is_bounded_and_the_oldest_goes(monkeypatch):
    monkeypatch.setattr(recorder, "WAITING", 5)
    fates = Fates()
    async with wire(*[ok()] * 5) as (client, server):
        rec = Recorder(client, "pod-1", counted=fates)
        for number in range(8):
            rec.record(INSTANCE, EventSpec(EventReason.CHANGED, str(number)))
        assert fates == ["dropped"] * 3
        await written(rec)
    assert [decoded(request)["note"] for request in server.requests] == ["3", "4", "5", "6", "7"]


async def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(recorder, "KNOWN", 10)
    async with wire() as (client, _):
        rec = Recorder(client, "pod-1")
        for number in range(100):
            metadata = {**INSTANCE["metadata"], "uid": str(number)}
            rec.record({**INSTANCE, "metadata": metadata}, SPEC)
    assert len(rec._series) == len(rec._budgets) == 10


async def test_a_refused_event_is_lost_and_said_once(caplog):
    fates = Fates()
    async with wire(*[failure(403, "events is forbidden")] * 3) as (client, server):
        rec = Recorder(client, "pod-1", counted=fates)
        for number in range(3):
            rec.record(INSTANCE, EventSpec(EventReason.CHANGED, str(number)))
        await written(rec)
    assert len(server.requests) == 3
    assert fates == ["failed"] * 3
    assert len([record for record in caplog.records if "Events cannot be written" in record.message]) == 1


async def test_a_lost_server_is_asked_again_a_few_times(monkeypatch):
    monkeypatch.setattr(recorder, "PAUSES", (0.0,))
    fates = Fates()
    answers = [failure(503, "busy"), ok(), *[failure(429, "slow", "Retry-After: 0")] * recorder.ATTEMPTS, ok()]
    async with wire(*answers) as (client, server):
        rec = Recorder(client, "pod-1", counted=fates)
        for number in range(3):
            rec.record(INSTANCE, EventSpec(EventReason.CHANGED, str(number)))
        await written(rec)
    assert fates == ["written", "failed", "written"]
    assert len(server.requests) == len(answers)


async def test_while_there_is_work_events_wait(monkeypatch):
    monkeypatch.setattr(recorder, "BUSY_PAUSE", 60)
    busy = [True]
    async with wire(*[ok()] * 4) as (client, server):
        rec = Recorder(client, "pod-1", busy=lambda: busy[0])
        async with anyio.create_task_group() as group:
            for number in range(4):
                rec.record(INSTANCE, EventSpec(EventReason.CHANGED, str(number)))
            group.start_soon(rec.run)
            await anyio.sleep(0.2)
            group.cancel_scope.cancel()
        assert len(server.requests) == 1
        busy[0] = False
        await written(rec)
    assert len(server.requests) == 4


async def test_the_end_of_the_process_waits_no_longer_than_it_is_told():
    async def silent(_writer):
        await anyio.sleep(30)

    async with wire(silent) as (client, _):
        rec = Recorder(client, "pod-1")
        rec.record(INSTANCE, SPEC)
        with anyio.fail_after(3):
            await rec.drain(0.2)


def test_every_reason_is_a_valid_one():
    # kubectl and the API server take any text of at most 128 bytes; CamelCase is the convention.
    for reason in [*EventReason, *Reason]:
        assert reason.isalpha()
        assert reason[0].isupper()


@pytest.mark.parametrize("related", [None, Ref("v1", "Pod", "team", "demo-redis-0")])
def test_the_body_of_an_event(related):
    spec = EventSpec(Reason.CRASH_LOOP, "It ends.", warning=True, related=related)
    body = events.body(spec, INSTANCE, name="n", reporter="pod-1", first="t1", count=3, last="t2")
    assert body["regarding"]["uid"] == OWNER_UID
    assert (body["type"], body["reason"], body["series"]) == (
        "Warning",
        "CrashLoop",
        {"count": 3, "lastObservedTime": "t2"},
    )
    assert ("related" in body) == (related is not None)


def test_what_would_be_done_is_told_without_values():
    change = Change(".data.password", Op.SET, PLANTED, PLANTED[::-1])
    steps = [step(Action.APPLY, "Secret", changes=[change]), step(Action.RESTART, "Pod", "demo-redis-0")]
    spec = events.planned(steps, ["then the Pod restarts: image"])
    assert spec.note == (
        "In mode observe, not done: apply Secret/demo-redis (.data.password); restart Pod/demo-redis-0; "
        "then the Pod restarts: image"
    )
