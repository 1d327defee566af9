"""Plans: which there are, how one is run, and what its result is."""

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redisop.kinds import INSTANCE, OWNED, POD, Object
from tests.faults import oracles
from tests.faults.arena import NAME, Arena, NotConverged, condition
from tests.faults.oracles import Reference
from tests.faults.proxy import Fault, Request
from tests.faults.rows import (
    CHILDREN,
    KINDS,
    ROWS,
    Frozen,
    Held,
    Record,
    Row,
    StaleList,
    Strike,
    WatchFault,
    reads,
    stranger,
    writes,
)
from tests.faults.site import Site
from tests.faults.workloads import REVISED, WORKLOADS, Workload, nothing_left

WITHIN = 60.0
"""Seconds from the last effect of a fault to the desired state; the promise is 5 s on an idle machine, and this is a shared one."""
READS = 24


@dataclass(frozen=True, order=True)
class Plan:
    """`point` counts from 1: the n-th write, read, kind or child."""

    row: str
    workload: str
    point: int

    def __str__(self) -> str:
        return f"{self.row} / {self.workload} / {self.point}"


@dataclass
class Result:
    """`problems` is empty for a plan that passed; `struck` is false where the run had no such point."""

    plan: Plan
    struck: bool
    recovery: float
    problems: list[str]
    seconds: float
    log: list[str] = field(default_factory=list)


def all_plans(references: dict[str, Reference], rows: tuple[str, ...] = ()) -> Iterator[Plan]:
    """Yield every plan of `rows`, of all where none is given."""
    for row in ROWS.values():
        if rows and not any(part in row.name for part in rows):
            continue
        for name in row.workloads:
            points = {
                # One more than undisturbed, since a fault may bring another write.
                "writes": references[name].writes + 1,
                "reads": READS,
                "kinds": len(KINDS),
                "kinds and all": len(KINDS) + 1,
                "children": len(CHILDREN),
                "once": 1,
            }[row.points]
            for point in range(1, points + 1):
                yield Plan(row.name, name, point)


def sample(references: dict[str, Reference], seed: int, size: int) -> list[Plan]:
    """Return a random choice that has every row, and every write point of every workload, at least once."""
    rng = random.Random(seed)
    plans = list(all_plans(references))
    rng.shuffle(plans)
    chosen: dict[Plan, None] = {}
    rows: set[str] = set()
    points: set[tuple[str, int]] = set()
    for plan in plans:
        at_write = ROWS[plan.row].points == "writes" and (plan.workload, plan.point) not in points
        if plan.row not in rows or at_write:
            chosen[plan] = None
            rows.add(plan.row)
            if ROWS[plan.row].points == "writes":
                points.add((plan.workload, plan.point))
    for plan in plans[: max(0, size - len(chosen))]:
        chosen[plan] = None
    return list(chosen)


async def references(
    site: Site, quiet: float, at_once: int, names: tuple[str, ...] = tuple(WORKLOADS)
) -> dict[str, Reference]:
    """Run every workload twice undisturbed and return what each comes to.

    What it comes to after a later revision of the instance has a + at the end of its name.
    """
    limit = asyncio.Semaphore(at_once)
    runs: dict[str, list[tuple[dict[str, Any], list[Request]]]] = {}

    async def once(workload: Workload) -> None:
        async with limit:
            arena = await _arena(site)
            try:
                await arena.operator()
                await _set_up(arena, workload)
                before = len(arena.log)
                await workload.act(arena)
                await arena.until(lambda: workload.done(arena), WITHIN, f"reference of {workload.name}")
                await arena.quiet(quiet, WITHIN)
                runs.setdefault(workload.name, []).append((await arena.snapshot(), arena.log[before:]))
                if workload.name in ROWS["two writers, one stopped"].workloads:
                    await arena.change(REVISED)
                    await arena.until(arena.ready, WITHIN, f"revised reference of {workload.name}")
                    await arena.quiet(quiet, WITHIN)
                    runs.setdefault(f"{workload.name}+", []).append((await arena.snapshot(), arena.log[before:]))
            finally:
                await arena.close()

    async with asyncio.TaskGroup() as group:
        for name in (*names, *names):
            group.create_task(once(WORKLOADS[name]))
    return {name: _reference(*both) for name, both in runs.items()}


def _reference(one: tuple[dict[str, Any], list[Request]], other: tuple[dict[str, Any], list[Request]]) -> Reference:
    (created, deleted, applied), again = oracles.tally(one[1]), oracles.tally(other[1])
    # The garbage collector may have taken something that was made twice.
    created &= again[0]
    assert deleted == again[1], "two undisturbed runs differ in what they delete"
    count = max(sum(1 for it in log if it.write) for log in (one[1], other[1]))
    return Reference(one[0], oracles.learn(one[0], other[0]), created, deleted, applied | again[2], count)


class Runner:
    """Runs plans, several at once; failures are kept in `folder`."""

    def __init__(
        self, site: Site, known: dict[str, Reference], quiet: float, at_once: int, folder: Path | None = None
    ) -> None:
        self.site = site
        self.known = known
        self.quiet = quiet
        self.folder = folder
        self._limit = asyncio.Semaphore(at_once)

    async def run(self, plan: Plan) -> Result:
        """Run one plan; whatever goes wrong is a problem of its result."""
        async with self._limit:
            started = time.monotonic()
            arena = await _arena(self.site)
            course = Course(self, plan, arena)
            try:
                await course.run()
            except NotConverged as error:
                course.problems.append(str(error))
                obj = await arena.find(INSTANCE, NAME)
                course.problems.append(
                    f"status: {condition(obj or {})} of generation {(obj or {}).get('metadata', {}).get('generation')}"
                )
            except Exception as error:  # noqa: BLE001 - one plan must not end the others
                course.problems.append(f"the plan itself failed: {type(error).__name__} {error}")
            finally:
                await arena.close()
            log = [request.line(arena.started) for request in arena.log]
            course.problems += [it.stuck for it in arena.replicas if it.stuck and it.stuck not in course.problems]
            result = Result(plan, course.struck, course.recovery, course.problems, time.monotonic() - started, log)
            if result.problems and self.folder is not None:
                self._keep(result, arena)
            return result

    def _keep(self, result: Result, arena: Arena) -> None:
        assert self.folder is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        name = "".join(it if it.isalnum() else "-" for it in str(result.plan))
        repeat = f'python -m tests.faults --plan "{result.plan}"'
        text = [str(result.plan), *result.problems, "", repeat, "", *result.log, "", *arena.lines]
        (self.folder / f"{name}.txt").write_text("\n".join(text))


class Course:
    """One plan on its way."""

    def __init__(self, runner: Runner, plan: Plan, arena: Arena) -> None:
        self.runner = runner
        self.plan = plan
        self.arena = arena
        self.row: Row = ROWS[plan.row]
        self.workload = WORKLOADS[plan.workload]
        self.problems: list[str] = []
        self.struck = False
        self.recovery = 0.0
        self.counted = True
        self.done: Callable[[], Awaitable[bool]] = lambda: self.workload.done(arena)
        self.end = plan.workload
        self.since = 0
        self.cleared = 0.0

    async def run(self) -> None:
        script: Callable[[], Awaitable[None]] = getattr(self, f"_{self.row.script}")
        secret: set[str] = set()
        await script()
        cleared = max(self.cleared, time.monotonic() if not self.struck else 0.0)
        within = WITHIN + max(0.0, cleared - time.monotonic())
        await self.arena.until(self.done, within, f"O1: {self.plan.workload}")
        self.recovery = max(0.0, time.monotonic() - cleared)
        secret |= await self.arena.secrets()
        await self.arena.quiet(self.runner.quiet, self.runner.quiet + 20)
        end = await self.arena.snapshot()
        if self.end and oracles.end_state(end, self.runner.known[self.end]):
            # The API server of a busy machine may take seconds to tell what the last status is made from.
            await asyncio.sleep(self.runner.quiet)
            await self.arena.quiet(self.runner.quiet, self.runner.quiet + 20)
            end = await self.arena.snapshot()
        self._judge(end, secret)

    def _judge(self, end: dict[str, Any], secret: set[str]) -> None:
        log = self.arena.log
        acted = log[self.since :]
        reference = self.runner.known[self.end] if self.end else None
        found = self.problems
        if reference is not None:
            found += oracles.end_state(end, reference)
            if self.counted:
                found += oracles.counts(acted, reference, 1, 3 if self.workload.name in {"recreate", "remove"} else 0)
        elif end:
            found.append(f"O1: left over: {sorted({path.split('.')[0] for path in end})}")
        found += oracles.preconditions(log)
        found += oracles.ownership(log, self.arena.uids)
        found += oracles.passwords(log)
        found += oracles.truthful(log)
        found += oracles.retry_after(log)
        found += oracles.no_hot_loop(log, time.monotonic() - self.arena.started)
        found += oracles.secrecy(secret, self.arena.lines, log, end)
        found += [replica.crashed for replica in self.arena.replicas if replica.crashed]
        found += [
            f"crash logged: {line[:300]}" for line in self.arena.lines if line.startswith("ERROR") and " at\n" in line
        ][:2]

    async def _begin(self, fault: Fault) -> None:
        """Have the base converged, with `fault` from then on, and act."""
        replica = await self.arena.operator(leased=self.row.leased)
        await _set_up(self.arena, self.workload)
        if self.row.leased:
            await self.arena.until(_holding(replica.proxy.log), WITHIN, "the Lease")
            await self.arena.operator(_Witness(self.arena, Fault()), leased=True)
        self.since = len(self.arena.log)
        replica.proxy.fault = _Witness(self.arena, fault)
        await self.workload.act(self.arena)

    def _strike(self, matches: Callable[[Request], bool] = writes) -> Any:
        assert self.row.fault is not None
        return self.row.fault(self.plan.point, matches)

    async def _hits(self, fault: Strike) -> bool:
        """Wait until the fault has struck, or the workload is over without."""
        hit = asyncio.ensure_future(fault.struck.wait())
        over = asyncio.ensure_future(self.arena.until(self.done, 2 * WITHIN, "O1"))
        await asyncio.wait({hit, over}, return_when=asyncio.FIRST_COMPLETED)
        if not fault.struck.is_set():
            # The last status may come after the state that is waited for.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(fault.struck.wait(), 1.0)
        for task in (hit, over):
            task.cancel()
        for outcome in await asyncio.gather(hit, over, return_exceptions=True):
            if isinstance(outcome, NotConverged):
                raise outcome
        self.struck = fault.struck.is_set()
        self.cleared = fault.ended
        return self.struck

    async def _answer(self) -> None:
        fault = self._strike()
        await self._begin(fault)
        if await self._hits(fault):
            if self.row.name.endswith(("slow", "timeout")):
                await asyncio.sleep(3.0)
            self.cleared = max(fault.ended, self.cleared)

    async def _kill(self) -> None:
        fault = self._strike()
        await self._begin(fault)
        if await self._hits(fault):
            await self.arena.replicas[0].kill()
            if not self.row.leased:
                await self.arena.operator(_Witness(self.arena, Fault()))
            self.cleared = time.monotonic()

    async def _terminate(self) -> None:
        fault = self._strike()
        await self._begin(fault)
        if await self._hits(fault):
            seconds = await self.arena.replica.terminate()
            if seconds > 5:
                self.problems.append(f"SIGTERM took {seconds:.1f} s")
            await self.arena.operator(_Witness(self.arena, Fault()))
            self.cleared = time.monotonic()

    async def _boot(self) -> None:
        await self._away()
        fault = self._strike(reads)
        await self.arena.operator(_Witness(self.arena, fault))
        await self._hits(fault)

    async def _down(self) -> None:
        await self._away()
        await self.arena.operator(_Witness(self.arena, Fault()))
        self.struck, self.cleared = True, time.monotonic()

    async def _away(self) -> None:
        """Act while no operator is there."""
        if self.workload.base is not None:
            await self.arena.operator()
            await _set_up(self.arena, self.workload)
            await self.arena.replica.kill()
        self.since = len(self.arena.log)
        await self.workload.act(self.arena)

    async def _stale(self) -> None:
        record = Record()
        replica = await self.arena.operator(record)
        if self.workload.base is None:
            await self.arena.until(_listed(record), WITHIN, "the lists")
        else:
            await _set_up(self.arena, self.workload)
        self.since = len(self.arena.log)
        replica.proxy.fault = _Witness(self.arena, record)
        await self.workload.act(self.arena)
        await self.arena.until(self.done, WITHIN, "O1")
        await replica.kill()
        kinds = set(KINDS) if self.plan.point > len(KINDS) else {KINDS[self.plan.point - 1]}
        fault = StaleList(kinds, record.lists)
        await self.arena.operator(_Witness(self.arena, fault))
        await self._hits(fault)

    async def _watch(self) -> None:
        fault = self._strike_watch()
        replica = await self.arena.operator(_Witness(self.arena, fault))
        await _set_up(self.arena, self.workload)
        if self.workload.base is None:
            await self.arena.until(_watching(replica.proxy.log), WITHIN, "the watches")
        self.since = len(self.arena.log)
        fault.arm()
        await self.workload.act(self.arena)
        self.struck, self.cleared = True, time.monotonic()

    def _strike_watch(self) -> WatchFault:
        assert self.row.fault is not None
        assert issubclass(self.row.fault, WatchFault)
        return self.row.fault(KINDS[self.plan.point - 1])

    async def _two(self) -> None:
        """While A is stopped in the middle of a write, B finishes and follows another change; then A goes on."""
        fault: Frozen = self._strike()
        await self._begin(fault)
        if not await self._hits(fault):
            fault.release.set()
            return
        if not self.row.leased:
            await self.arena.operator(_Witness(self.arena, Fault()))
        await self.arena.until(self.done, WITHIN, "O1, by the second writer")
        await self.arena.quiet(0.5, 10)
        await self.arena.change(REVISED)
        self.end += "+"
        self.done = self.arena.ready
        await self.arena.until(self.done, WITHIN, "O1, of the revision")
        await self.arena.quiet(0.5, 10)
        fault.release.set()
        await asyncio.sleep(0.3)
        self.cleared = time.monotonic()

    async def _deleted(self) -> None:
        await self._while_held(self.arena.delete(INSTANCE, NAME))
        if self.struck:
            self.done = lambda: nothing_left(self.arena)
            self.end, self.counted = "", False

    async def _replaced(self) -> None:
        async def swap() -> None:
            await self.arena.delete(INSTANCE, NAME)
            await self.arena.create({})

        await self._while_held(swap())
        if self.struck:
            again = WORKLOADS["recreate"]
            self.done = lambda: again.done(self.arena)
            self.end, self.counted = "create", False

    async def _namespace(self) -> None:
        await self._while_held(self.arena.site.discard(self.arena.namespace))
        if self.struck:
            self.done = lambda: nothing_left(self.arena)
            self.end, self.counted = "", False

    async def _while_held(self, act: Any) -> None:
        fault: Held = self._strike()
        await self._begin(fault)
        if await self._hits(fault):
            await act
            await asyncio.sleep(0.2)
        else:
            act.close()
        fault.release.set()
        self.cleared = time.monotonic()

    async def _stranger(self) -> None:
        target = CHILDREN[self.plan.point - 1]
        body = stranger(target, self.plan.row)
        arena = self.arena
        kind = next(kind for kind in OWNED if kind.plural == target.split("/")[0])
        for owner in body["metadata"].get("ownerReferences", ()):
            _, found = await arena.site.send("GET", f"/api/v1/namespaces/{arena.namespace}")
            owner |= {"name": arena.namespace, "uid": found["metadata"]["uid"]}
        code, answer = await arena.site.send("POST", arena.path(kind), body)
        assert code == 201, answer
        await self._begin(Fault())

        async def told() -> bool:
            obj = await arena.find(INSTANCE, NAME)
            return "NameConflict" in str((obj or {}).get("status"))

        await arena.until(told, WITHIN, "the condition NameConflict")
        await asyncio.sleep(1.0)
        self.problems += oracles.strangers(arena.log, {target}, time.monotonic())
        still = await arena.find(kind, body["metadata"]["name"])
        if still is None or still["metadata"]["uid"] != answer["metadata"]["uid"]:
            self.problems.append(f"O4: the stranger's {target} is gone")
        await arena.delete(kind, body["metadata"]["name"])
        self.struck, self.cleared = True, time.monotonic()


class _Witness(Fault):
    """Looks at the Pod before a status that says Ready is sent, and leaves the rest to `fault`."""

    def __init__(self, arena: Arena, fault: Fault) -> None:
        self._arena = arena
        self._fault = fault
        self.after = fault.after  # type: ignore[method-assign]
        self.events = fault.events  # type: ignore[method-assign]

    async def before(self, request: Request) -> bytes | None:
        if request.subresource == "status" and condition(request.body).get("status") == "True":
            pod = await self._arena.find(POD, f"{NAME}-redis-0")
            if pod is None or not _was_ready(pod):
                request.note = "the Pod is not ready"
        return await self._fault.before(request)


def _was_ready(pod: Object) -> bool:
    return condition(pod).get("status") == "True" or "deletionTimestamp" in pod["metadata"]


def _listed(record: Record) -> Callable[[], Awaitable[bool]]:
    async def done() -> bool:
        return set(KINDS) <= record.lists.keys()

    return done


def _watching(log: list[Request]) -> Callable[[], Awaitable[bool]]:
    async def done() -> bool:
        return set(KINDS) <= {it.resource for it in log if it.verb == "watch" and it.told == 200}

    return done


def _holding(log: list[Request]) -> Callable[[], Awaitable[bool]]:
    async def done() -> bool:
        return any(it.resource == "leases" and it.method in {"POST", "PUT"} and it.told in {200, 201} for it in log)

    return done


async def _set_up(arena: Arena, workload: Workload) -> None:
    if workload.base is not None:
        await arena.create(workload.base)
        await arena.until(arena.ready, 2 * WITHIN, "the base")
        await arena.quiet(0.6, 20)


async def _arena(site: Site) -> Arena:
    name = f"f-{secrets.token_hex(5)}"
    await site.namespace(name)
    return Arena(site, name)
