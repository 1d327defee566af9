"""A seeded sample of the fault table: every row, and every write point of every workload, at least once.

All plans: `python -m tests.faults --all`. Another sample: REDISOP_FAULT_SEED=n.
"""

import asyncio
import os
from pathlib import Path

import pytest

from tests.faults.conftest import AT_ONCE, QUIET
from tests.faults.plans import Runner, all_plans, sample
from tests.faults.report import table
from tests.faults.rows import ROWS

SEED = int(os.environ.get("REDISOP_FAULT_SEED", "20261124"))


@pytest.mark.timeout(1500)
def test_no_fault_of_the_sample_breaks_a_promise(place, known, tmp_path):
    plans = sample(known, SEED, 0)
    assert {plan.row for plan in plans} == set(ROWS)
    folder = Path(os.environ.get("REDISOP_FAULT_LOGS", tmp_path))
    results = []

    async def run():
        async with place.opened():
            runner = Runner(place, known, QUIET, AT_ONCE, folder)
            results.extend(await asyncio.gather(*(runner.run(plan) for plan in plans)))

    asyncio.run(run())
    print(table(results))
    failed = [f"{it.plan} (seed {SEED}):\n  " + "\n  ".join(it.problems) for it in results if it.problems]
    assert not failed, "\n".join([*failed, f"logs: {folder}"])
    struck = [it for it in results if it.struck]
    assert len(struck) > 0.7 * len(results), "too many plans met no request to strike at"


def test_the_mask_is_short(known):
    masked = {path for found in known.values() for path in found.mask}
    assert len(masked) <= 14, sorted(masked)


def test_there_are_enough_plans(known):
    assert len(list(all_plans(known))) > 1000
