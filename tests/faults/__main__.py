"""The fault suite by hand: `python -m tests.faults --help`."""

import argparse
import asyncio
import random
import secrets
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.plans import Plan, Runner, all_plans, references, sample
from tests.faults.replica import scaled
from tests.faults.report import table
from tests.faults.site import Site, site


async def run(place: Site, arguments: argparse.Namespace) -> int:
    folder = Path(arguments.keep or tempfile.mkdtemp(prefix="redisop-faults-failed-"))
    known = await references(place, arguments.quiet, arguments.at_once)
    masks = {path for found in known.values() for path in found.mask}
    print(
        f"references: {', '.join(f'{name} {it.writes}' for name, it in known.items())} writes; {len(masks)} masked paths:"
    )
    print("    " + "\n    ".join(sorted(masks)))
    if arguments.plan:
        row, workload, point = arguments.plan.split(" / ")
        plans = [Plan(row, workload, int(point))]
    elif arguments.all or arguments.rows:
        plans = list(all_plans(known, tuple(arguments.rows)))
        random.Random(arguments.seed).shuffle(plans)
    else:
        plans = sample(known, arguments.seed, arguments.size)
    print(f"{len(plans)} plans, seed {arguments.seed}", flush=True)
    runner = Runner(place, known, arguments.quiet, arguments.at_once, folder)
    deadline = time.monotonic() + 60 * arguments.minutes
    results = []

    async def one(plan: Plan) -> None:
        if time.monotonic() > deadline:
            return
        result = await runner.run(plan)
        results.append(result)
        if result.problems:
            print(f"FAILED {plan}\n    " + "\n    ".join(result.problems), flush=True)
            print(f'    repeat: python -m tests.faults --plan "{plan}"; log in {folder}', flush=True)
        elif len(results) % 10 == 0:
            print(f"{len(results)}/{len(plans)} {plan} in {result.seconds:.0f} s", flush=True)

    waiting = iter(plans)

    async def worker() -> None:
        for plan in waiting:
            await one(plan)

    await asyncio.gather(*(worker() for _ in range(arguments.at_once)))
    print(table(results))
    left = len(plans) - len(results)
    if left:
        print(f"{left} plans were not tried: no time left")
    return 1 if any(result.problems for result in results) else 0


async def opened(place: Site, arguments: argparse.Namespace) -> int:
    async with place.opened():
        return await run(place, arguments)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description="Try the operator under injected faults."
    )
    parser.add_argument("--all", action="store_true", help="every plan, not a sample")
    parser.add_argument("--rows", nargs="*", default=[], help="every plan of the rows whose names contain one of these")
    parser.add_argument("--plan", help="one plan, as a failure names it")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31), help="of the choice and the order")
    parser.add_argument("--size", type=int, default=200, help="plans in a sample, at least")
    parser.add_argument("--minutes", type=float, default=600, help="begin no plan after this")
    parser.add_argument("--at-once", type=int, default=8, help="plans side by side")
    parser.add_argument(
        "--quiet", type=float, default=4.0, help="seconds without a write after which it counts as stable"
    )
    parser.add_argument("--keep", help="folder for the logs of failures")
    arguments = parser.parse_args()
    with site() as place, scaled():
        return asyncio.run(opened(place, arguments))


if __name__ == "__main__":
    sys.exit(main())
