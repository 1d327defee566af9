import asyncio

import pytest

from redisop.kinds import Ref
from redisop.workqueue import BASE_DELAY, MAX_DELAY, WorkQueue

A, B, C = (Ref("v1", "X", "team", name) for name in "abc")


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def queue(clock):
    return WorkQueue(clock, jitter=lambda: 1.0)


def drain(queue):
    keys = []
    while (key := queue.take()) is not None:
        keys.append(key)
        queue.done(key)
    return keys


def test_a_key_is_queued_once_and_in_order(queue):
    for key in (A, B, A, C):
        queue.add(key)
    assert len(queue) == 3
    assert drain(queue) == [A, B, C]


def test_priority_goes_first_and_can_be_raised(queue):
    queue.add(A)
    queue.add(B, priority=1)
    queue.add(C)
    queue.add(C, priority=2)
    queue.add(C)
    assert drain(queue) == [C, B, A]


def test_no_key_is_worked_on_twice_at_once(queue):
    queue.add(A)
    assert queue.take() == A
    queue.add(A)
    queue.add(A, priority=3)
    assert queue.take() is None
    queue.done(A)
    assert drain(queue) == [A]


def test_back_off_doubles_up_to_the_limit_and_starts_afresh_after_success(queue):
    delays = [queue.retry(A) for _ in range(16)]
    assert delays[:3] == [BASE_DELAY, BASE_DELAY * 2, BASE_DELAY * 4]
    assert delays[-1] == MAX_DELAY
    queue.forget(A)
    assert queue.retry(A) == BASE_DELAY
    for _ in range(5000):
        queue.retry(A)


def test_back_off_is_jittered(clock):
    queue = WorkQueue(clock, jitter=lambda: 0.0)
    assert queue.retry(A) == BASE_DELAY / 2


def test_a_failed_key_comes_back_when_due_and_an_event_brings_it_back_sooner(queue, clock):
    for _ in range(12):
        delay = queue.retry(A)
    assert drain(queue) == []
    queue.add(A)
    assert drain(queue) == [A]
    clock.now += delay + 1
    assert drain(queue) == [A]
    assert drain(queue) == []


def test_nothing_comes_back_before_the_server_said_so(queue, clock):
    queue.retry(A, at_least=10)
    queue.add(A, priority=5)
    queue.expedite()
    clock.now += 9.9
    queue.add_after(A, 0)
    assert drain(queue) == []
    clock.now += 0.2
    assert drain(queue) == [A]


def test_later_means_the_earliest_of_what_was_asked(queue, clock):
    queue.add_after(A, 30)
    queue.add_after(A, 5)
    queue.add_after(A, 60)
    clock.now += 6
    assert drain(queue) == [A]
    clock.now += 60
    assert drain(queue) == []


def test_expedite_ends_every_back_off_but_no_plan_for_later(queue):
    for _ in range(14):
        queue.retry(A)
    queue.add_after(B, 30)
    queue.expedite()
    assert drain(queue) == [A]


def test_a_dropped_key_leaves_nothing_behind(queue, clock):
    queue.add(A)
    queue.retry(A, at_least=5)
    queue.drop(A)
    clock.now += 100
    assert drain(queue) == []
    assert not queue._failures
    assert not queue._held


async def test_workers_share_keys_and_wake_for_new_and_for_due_ones():
    queue = WorkQueue()
    seen = []
    enough = asyncio.Event()

    async def worker():
        while True:
            key = await queue.get()
            seen.append(key)
            if len(seen) == 3:
                enough.set()
            await asyncio.sleep(0)
            queue.done(key)

    workers = [asyncio.create_task(worker()) for _ in range(3)]
    await asyncio.sleep(0.01)
    queue.add(A)
    queue.add_after(B, 0.05)
    queue.add(C)
    await asyncio.wait_for(enough.wait(), 2)
    assert sorted(seen) == [A, B, C]
    assert seen[-1] == B
    for task in workers:
        task.cancel()


async def test_a_cancelled_worker_takes_no_key_with_it():
    queue = WorkQueue()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add(A)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await asyncio.wait_for(queue.get(), 1) == A
