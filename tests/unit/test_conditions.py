from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redisop.conditions import MESSAGE_LIMIT, Reason, Type, find, set_condition, timestamp

T0 = "2026-01-01T00:00:00Z"
T1 = "2026-01-01T00:00:05Z"


def test_first_set_stamps_now():
    assert set_condition([], Type.READY, "True", Reason.SERVING, "fine", 3, T0) == [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Serving",
            "message": "fine",
            "observedGeneration": 3,
            "lastTransitionTime": T0,
        }
    ]


def test_time_moves_only_when_the_status_flips():
    before = set_condition([], Type.READY, "False", Reason.STARTING, "a", 1, T0)
    same = set_condition(before, Type.READY, "False", Reason.LOADING, "b", 2, T1)
    assert same[0]["lastTransitionTime"] == T0
    assert (same[0]["reason"], same[0]["message"], same[0]["observedGeneration"]) == ("Loading", "b", 2)
    flipped = set_condition(same, Type.READY, "True", Reason.SERVING, "c", 2, T1)
    assert flipped[0]["lastTransitionTime"] == T1
    unknown = set_condition(flipped, Type.READY, "Unknown", Reason.NOT_COMPARED, "d", 2, T0)
    assert (unknown[0]["status"], unknown[0]["lastTransitionTime"]) == ("Unknown", T0)


def test_a_condition_without_a_time_gets_one():
    assert (
        set_condition([{"type": "Ready", "status": "True"}], "Ready", "True", "Serving", "", 1, T1)[0][
            "lastTransitionTime"
        ]
        == T1
    )


def test_input_is_not_changed():
    before = set_condition([], Type.READY, "True", Reason.SERVING, "fine", 1, T0)
    copy = [dict(condition) for condition in before]
    set_condition(before, Type.READY, "False", Reason.STARTING, "", 2, T1)
    assert before == copy


@given(st.permutations([*Type, "Zebra", "Aardvark"]))
def test_order_is_canonical_whatever_was_set_first(kinds):
    conditions: list[dict[str, object]] = []
    for kind in kinds:
        conditions = set_condition(conditions, kind, "True", Reason.SERVING, "", 1, T0)
    assert [condition["type"] for condition in conditions] == [*map(str, Type), "Aardvark", "Zebra"]


def test_duplicates_of_a_type_collapse():
    one = set_condition([], Type.READY, "True", Reason.SERVING, "", 1, T0)[0]
    assert len(set_condition([one, one], Type.DEGRADED, "False", Reason.SERVING, "", 1, T0)) == 2


@given(st.text(max_size=3000))
def test_messages_are_one_bounded_line(text):
    message = set_condition([], Type.READY, "True", Reason.SERVING, text, 1, T0)[0]["message"]
    assert len(message) <= MESSAGE_LIMIT
    assert "\n" not in message
    assert "\r" not in message


def test_a_cut_message_shows_that_it_was_cut():
    assert set_condition([], Type.READY, "True", Reason.SERVING, "x" * 5000, 1, T0)[0]["message"].endswith("…")


@pytest.mark.parametrize("reason", list(Reason))
def test_reasons_have_the_form_the_api_server_demands(reason):
    assert reason.isalnum()
    assert reason[0].isupper()


def test_timestamp_is_utc_and_whole_seconds():
    moment = datetime(2026, 5, 4, 1, 2, 3, 999999, tzinfo=timezone(timedelta(hours=2)))
    assert timestamp(moment) == "2026-05-03T23:02:03Z"
    assert timestamp(datetime(2026, 1, 1, tzinfo=UTC)) == T0


def test_find():
    conditions = set_condition([], Type.READY, "True", Reason.SERVING, "", 1, T0)
    assert find(conditions, "Ready") == conditions[0]
    assert find(conditions, "Degraded") is None
