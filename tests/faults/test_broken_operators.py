"""The suite's own honesty: operators broken on purpose are caught, and the same plans pass on the real one."""

import asyncio
from unittest.mock import patch

import pytest

from tests.faults import plans
from tests.faults.broken import BROKEN
from tests.faults.conftest import AT_ONCE
from tests.faults.plans import Plan, Runner

QUIET = 2.0
WITHIN = 12.0


def parsed(text):
    row, workload, point = text.split(" / ")
    return Plan(row, workload, int(point))


def tried(place, known, texts):
    async def run():
        async with place.opened():
            runner = Runner(place, known, QUIET, AT_ONCE)
            return await asyncio.gather(*(runner.run(parsed(text)) for text in texts))

    return asyncio.run(run())


@pytest.mark.timeout(600)
def test_the_real_operator_passes_the_plans_that_catch_the_broken_ones(place, known):
    texts = sorted({text for broken in BROKEN.values() for text in broken.plans})
    assert [(str(it.plan), it.problems) for it in tried(place, known, texts) if it.problems] == []


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_operator_is_caught(place, known, name):
    broken = BROKEN[name]
    with patch.object(plans, "WITHIN", WITHIN), broken.patches():
        results = tried(place, known, broken.plans)
    problems = [problem for result in results for problem in result.problems]
    assert any(broken.caught in problem for problem in problems), problems
    assert not any("the plan itself failed" in problem for problem in problems), problems
