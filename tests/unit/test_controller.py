"""What the controller decides without a server; whole passes against a real one are in tests/controlplane."""

import time

import pytest

from redisop.controller import IDLE, NORMAL, URGENT, _known, _Memory, _only_waiting, _priority
from redisop.errors import ApiError
from redisop.kinds import CONFIG_MAP, INSTANCE, POD, STATEFUL_SET, ref_of
from redisop.observation import Failure
from redisop.plan import Action, Step


def obj(kind, version="1", *, generation=None, ready=None):
    metadata = {"name": "demo", "namespace": "team", "uid": "u", "resourceVersion": version}
    if generation is not None:
        metadata["generation"] = generation
    found = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata}
    if ready is not None:
        found["status"] = {"conditions": [{"type": "Ready", "status": str(ready)}]}
    return found


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (None, obj(INSTANCE), NORMAL),
        (obj(INSTANCE, generation=1), obj(INSTANCE, "2", generation=1), NORMAL),
        (obj(CONFIG_MAP), None, NORMAL),
        (obj(CONFIG_MAP), obj(CONFIG_MAP, "2"), NORMAL),
        (obj(STATEFUL_SET, generation=1), obj(STATEFUL_SET, "2", generation=1), IDLE),
        (obj(STATEFUL_SET, generation=1), obj(STATEFUL_SET, "2", generation=2), NORMAL),
        (None, obj(POD), IDLE),
        (obj(POD, ready=False), obj(POD, "2", ready=False), IDLE),
        (obj(POD, ready=False), obj(POD, "2", ready=True), URGENT),
        (obj(POD, ready=True), obj(POD, "2", ready=False), URGENT),
        (obj(POD, ready=True), None, NORMAL),
    ],
)
def test_what_finishes_an_instance_goes_before_what_begins_one_and_steps_on_the_way_go_last(old, new, expected):
    assert _priority(old, new) == expected


def refused(live):
    step = Step(Action.APPLY, ref_of(live), 0, {"want": 1}, live)
    failure = Failure(step, ApiError("no", code=422))
    memory = _Memory()
    memory.refused[step.ref, None] = (failure, time.monotonic() + 60)
    return memory, failure


def step_for(live, want=1):
    return Step(Action.APPLY, ref_of(live), 0, {"want": want}, live)


def test_a_refused_write_is_known_while_neither_side_changes():
    live = obj(STATEFUL_SET, "1", generation=4)
    memory, failure = refused(live)
    assert _known(memory, step_for(obj(STATEFUL_SET, "9", generation=4))) is failure, "only its status changed"


@pytest.mark.parametrize(
    ("seen", "now", "want"),
    [
        (obj(STATEFUL_SET, generation=4), obj(STATEFUL_SET, generation=5), 1),
        (obj(CONFIG_MAP, "1"), obj(CONFIG_MAP, "2"), 1),
        (obj(CONFIG_MAP, "1"), obj(CONFIG_MAP, "1"), 2),
    ],
    ids=["its spec", "no generation to tell", "what we want"],
)
def test_a_refused_write_is_tried_again_when_something_changed(seen, now, want):
    memory, _ = refused(seen)
    assert _known(memory, step_for(now, want)) is None
    assert not memory.refused


def test_a_refusal_is_not_believed_for_ever():
    live = obj(CONFIG_MAP)
    memory, failure = refused(live)
    memory.refused[ref_of(live), None] = (failure, time.monotonic() - 1)
    assert _known(memory, step_for(live)) is None


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (("Pending", 1), ("Pending", 1), True),
        (("Pending", 1), ("Pending", 2), False),
        (("Pending", 1), ("Running", 1), False),
        (("Running", 1), ("Pending", 1), False),
        (("Failed", 1), ("Failed", 1), False),
    ],
)
def test_only_news_of_waiting_may_be_late(old, new, expected):
    statuses = [{"phase": phase, "observedGeneration": generation} for phase, generation in (old, new)]
    assert _only_waiting(*statuses) is expected
