from dataclasses import replace
from itertools import pairwise

import pytest

from redisop.disputes import FIRST_HOLD, LAST_HOLD, LIMIT, QUIET, WINDOW, Disputes
from redisop.errors import Disputed
from redisop.kinds import Ref
from redisop.plan import Action, Change, Op, Plan, Step

KEY = Ref("redis.kubegateway.io/v1alpha1", "RedisHttpInstance", "team", "demo")
SERVICE = Ref("v1", "Service", "team", "demo-redis")
AFFINITY = Change(".spec.sessionAffinity", Op.SET, "theirs", "ours", "rival", ours=False)
LABEL = Change(".metadata.labels.x", Op.SET, "theirs", "ours", "rival", ours=False)
CALM = Step(Action.UNCHANGED, SERVICE, 0, {}, {})


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def disputes(clock):
    return Disputes(clock)


def taken(*changes, repeated=True, action=Action.APPLY):
    return Step(action, SERVICE, 0, {}, {}, changes or (AFFINITY,), repeated=repeated)


def pass_over(disputes, *steps):
    """Make one pass; return what was written and what was said."""
    plan, failures = disputes.hold(Plan(KEY, steps))
    disputes.carried_out(plan.writes)
    return len(plan.writes), [failure.error for failure in failures]


def war(disputes, step=None, times=LIMIT):
    return sum(pass_over(disputes, step or taken())[0] for _ in range(times))


def test_a_field_is_taken_back_a_few_times(disputes):
    assert war(disputes, times=LIMIT - 1) == LIMIT - 1
    assert pass_over(disputes, CALM) == (0, [])
    assert disputes.due() is None


def test_a_war_ends_after_a_few_writes_and_names_the_manager_and_the_field(disputes):
    assert war(disputes, times=1000) == LIMIT
    (error,) = pass_over(disputes, taken())[1]
    assert isinstance(error, Disputed)
    assert '"rival"' in str(error)
    assert ".spec.sessionAffinity" in str(error)
    assert "theirs" not in str(error), "values may be secret"
    assert disputes.due() == FIRST_HOLD


def test_slow_changes_are_no_war(disputes, clock):
    for _ in range(100):
        assert pass_over(disputes, taken()) == (1, [])
        clock.now += WINDOW / (LIMIT - 1)


def test_changes_of_many_fields_once_each_are_no_war(disputes):
    for index in range(100):
        assert pass_over(disputes, taken(replace(AFFINITY, path=f".spec.f{index}"))) == (1, [])


def test_attempts_become_rarer(disputes, clock):
    war(disputes)
    attempts = []
    for _ in range(4 * 3600):
        clock.now += 1
        if pass_over(disputes, taken())[0]:
            attempts.append(clock.now)
    gaps = [later - earlier for earlier, later in pairwise(attempts)]
    assert gaps == sorted(gaps)
    assert gaps[0] == 2 * FIRST_HOLD
    assert gaps[-1] == LAST_HOLD
    assert len(attempts) < 4 * 3600 / LAST_HOLD + 8


def test_it_is_over_when_everything_stays_as_wanted(disputes, clock):
    war(disputes)
    clock.now += FIRST_HOLD
    wrote, errors = pass_over(disputes, taken())
    assert (wrote, len(errors)) == (1, 1), "one attempt, and not yet over"
    assert len(pass_over(disputes, CALM)[1]) == 1
    assert disputes.due() == QUIET
    clock.now += QUIET
    assert pass_over(disputes, CALM) == (0, [])
    assert disputes.due() is None


def test_the_other_one_giving_our_value_back_ends_it_too(disputes, clock):
    war(disputes)
    assert len(pass_over(disputes, CALM)[1]) == 1
    clock.now += QUIET
    assert pass_over(disputes, CALM) == (0, [])


def test_one_more_flip_begins_it_again_at_once(disputes, clock):
    war(disputes)
    pass_over(disputes, CALM)
    clock.now += QUIET
    pass_over(disputes, CALM)
    assert war(disputes, times=10) == 1
    assert disputes.due() == 2 * FIRST_HOLD


def test_what_the_instance_asks_for_anew_is_written_during_a_dispute(disputes):
    war(disputes)
    fresh = Change(".spec.ports", Op.SET, 1, 2)
    assert pass_over(disputes, taken(AFFINITY, fresh, repeated=False))[0] == 1
    assert pass_over(disputes, taken(AFFINITY))[0] == 0


def test_another_drift_on_the_object_is_corrected_during_a_dispute(disputes):
    war(disputes)
    assert pass_over(disputes, taken(AFFINITY, LABEL))[0] == 1


def test_other_objects_are_written_during_a_dispute(disputes):
    war(disputes)
    other = replace(taken(), ref=SERVICE._replace(name="other"))
    assert pass_over(disputes, taken(), other)[0] == 1


def test_a_deleted_object_is_made_again_during_a_dispute(disputes):
    war(disputes)
    assert pass_over(disputes, Step(Action.CREATE, SERVICE, 0, {}, None))[0] == 1


def test_our_own_changes_of_mind_are_no_dispute(disputes):
    ours = Change(".spec.sessionAffinity", Op.SET, "a", "b")
    assert war(disputes, taken(ours, repeated=False), 50) == 50


def test_somebody_without_a_name_is_found_too(disputes):
    """A second operator writes under our own manager's name, so that the field stays ours."""
    ours = Change(".spec.sessionAffinity", Op.SET, "a", "b")
    assert war(disputes, taken(ours), 50) == LIMIT
    (error,) = pass_over(disputes, taken(ours))[1]
    assert "another operator" in str(error)


def test_replacing_again_and_again_is_a_war_too(disputes):
    assert war(disputes, taken(action=Action.REPLACE, repeated=False), 50) == LIMIT
