"""The rules of the election alone: one candidate step by step, then many candidates on unreliable clocks and networks."""

import heapq
import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest

from redisop.election import LONGEST, Election, Timing, micro_time
from redisop.errors import InputError

WALL = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
TIMING = Timing()


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Server:
    """One Lease with the API server's rules for versions and uids."""

    def __init__(self):
        self.lease = None
        self.version = itertools.count(8)
        self.uids = itertools.count(1)

    def write(self, lease):
        """Return the Lease as accepted, or None for 404 and 409."""
        metadata = lease["metadata"]
        if "resourceVersion" not in metadata:
            if self.lease is not None:
                return None
            return self.put({**lease, "metadata": {**metadata, "uid": f"uid-{next(self.uids)}"}})
        if self.lease is None or any(
            metadata[field] != self.lease["metadata"][field] for field in ("uid", "resourceVersion")
        ):
            return None
        return self.put(lease)

    def put(self, lease):
        version = str(next(self.version))
        self.lease = {**lease, "metadata": {**lease["metadata"], "resourceVersion": version}}
        return self.lease


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server():
    return Server()


def candidate(name, clock):
    return Election(name, TIMING, clock, jitter=lambda: 0.0)


def claim(election, server, clock, wall=WALL):
    """Send a claim that is answered at once; tell whether it was accepted."""
    answer = server.write(election.claim(wall, "here", "redisop"))
    if answer is None:
        election.saw(server.lease)
        return False
    election.accepted(answer, clock())
    return True


def leader(name, server, clock):
    election = candidate(name, clock)
    election.saw(server.lease)
    assert election.wait() == 0
    assert claim(election, server, clock)
    assert election.leading
    return election


def standby(name, server, clock):
    election = candidate(name, clock)
    election.saw(server.lease)
    assert election.wait() == pytest.approx(TIMING.duration)
    return election


def test_nothing_is_claimed_before_the_lease_was_seen(clock):
    assert candidate("a", clock).wait() == float("inf")


def test_the_first_claim_creates_the_lease(server, clock):
    leader("a", server, clock)
    assert server.lease["spec"] == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-05-04T03:02:01.000000Z",
        "renewTime": "2026-05-04T03:02:01.000000Z",
        "leaseTransitions": 0,
    }
    assert server.lease["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "redisop"}


def test_a_renewal_keeps_when_and_by_what_change_it_was_acquired(server, clock):
    a = leader("a", server, clock)
    assert a.wait() == TIMING.retry_period
    clock.sleep(2)
    assert a.wait() == 0
    assert claim(a, server, clock, WALL + timedelta(seconds=2))
    spec = server.lease["spec"]
    assert (spec["acquireTime"], spec["renewTime"]) == (micro_time(WALL), micro_time(WALL + timedelta(seconds=2)))
    assert spec["leaseTransitions"] == 0


def test_a_leader_stops_at_the_deadline_counted_from_when_it_sent(server, clock):
    a = candidate("a", clock)
    a.saw(None)
    sent, request = clock(), a.claim(WALL, "here", "redisop")
    clock.sleep(4)
    a.accepted(server.write(request), sent)
    assert a.fence == sent + TIMING.renew_deadline
    clock.sleep(5.9)
    assert a.leading
    clock.sleep(0.1)
    assert not a.leading


def test_a_standby_claims_only_a_lease_unchanged_for_its_duration(server, clock):
    a = leader("a", server, clock)
    b = standby("b", server, clock)
    for _ in range(20):
        clock.sleep(2)
        assert claim(a, server, clock, WALL + timedelta(seconds=clock()))
        b.saw_event("MODIFIED", server.lease)
        assert b.wait() == TIMING.duration
    clock.sleep(14.9)
    assert b.wait() > 0
    clock.sleep(0.1)
    assert b.wait() == 0
    assert claim(b, server, clock)
    assert server.lease["spec"]["leaseTransitions"] == 1
    assert not a.leading


@pytest.mark.parametrize("skew", [timedelta(hours=-1), timedelta(hours=1), timedelta(days=4000)])
def test_wall_clocks_decide_nothing(server, clock, skew):
    a = leader("a", server, clock)
    clock.sleep(1)
    assert claim(a, server, clock, WALL + skew)
    b = standby("b", server, clock)
    clock.sleep(2)
    assert claim(a, server, clock, WALL - skew)
    b.saw_event("MODIFIED", server.lease)
    assert a.leading
    assert b.wait() == TIMING.duration


def test_what_others_do_to_its_metadata_does_not_keep_a_dead_leader_alive(server, clock):
    leader("a", server, clock)
    b = standby("b", server, clock)
    clock.sleep(10)
    b.saw_event(
        "MODIFIED", server.put({**server.lease, "metadata": {**server.lease["metadata"], "labels": {"x": "y"}}})
    )
    assert b.wait() == pytest.approx(5)
    clock.sleep(5)
    assert claim(b, server, clock)
    assert server.lease["metadata"]["labels"] == {"x": "y"}


def test_a_claim_from_a_stale_view_is_refused_and_waits_again(server, clock):
    a = leader("a", server, clock)
    b = standby("b", server, clock)
    clock.sleep(8)
    assert claim(a, server, clock, WALL + timedelta(seconds=8))
    clock.sleep(7)
    assert b.wait() == 0
    assert not claim(b, server, clock)
    assert (b.wait(), b.holder) == (TIMING.duration, "a")
    assert a.leading


def test_a_lost_answer_is_found_out_and_renewed_by_the_next_claim(server, clock):
    a = leader("a", server, clock)
    clock.sleep(2)
    server.write(a.claim(WALL + timedelta(seconds=2), "here", "redisop"))
    fence = a.fence
    assert not claim(a, server, clock, WALL + timedelta(seconds=3))
    assert a.fence == fence
    assert a.wait() == 0
    assert claim(a, server, clock, WALL + timedelta(seconds=3))
    assert a.fence == fence + 2


def test_a_candidate_whose_acquisition_was_not_answered_does_not_lead_until_it_is_sure(server, clock):
    a = candidate("a", clock)
    a.saw(None)
    server.write(a.claim(WALL, "here", "redisop"))
    a.saw_event("ADDED", server.lease)
    assert not a.leading
    assert a.wait() == 0
    assert claim(a, server, clock, WALL + timedelta(seconds=1))
    assert a.leading


def test_after_an_outage_that_nobody_used_the_same_leader_goes_on_at_once(server, clock):
    a = leader("a", server, clock)
    clock.sleep(3600)
    assert not a.leading
    assert a.wait() == 0
    assert claim(a, server, clock)
    assert server.lease["spec"]["leaseTransitions"] == 0


def test_a_released_lease_is_free_at_once(server, clock):
    a = leader("a", server, clock)
    b = standby("b", server, clock)
    a.resign()
    assert not a.leading
    released = server.write(a.release(WALL, "here", "redisop"))
    assert "holderIdentity" not in released["spec"]
    b.saw_event("MODIFIED", released)
    assert (b.wait(), b.holder) == (0, "")
    assert claim(b, server, clock)
    assert server.lease["spec"]["leaseTransitions"] == 1
    a.saw(server.lease)
    assert a.release(WALL, "here", "redisop") is None


def test_another_holder_ends_the_term_at_once(server, clock):
    a = leader("a", server, clock)
    a.saw_event("MODIFIED", server.put({**server.lease, "spec": {"holderIdentity": "intruder"}}))
    assert not a.leading
    assert a.wait() == TIMING.duration


def test_old_news_ends_no_term(server, clock):
    leader("b", server, clock)
    old = server.lease
    a = standby("a", server, clock)
    clock.sleep(15)
    assert claim(a, server, clock)
    a.saw_event("MODIFIED", old)
    a.saw_event("DELETED", old)
    assert a.leading
    assert a.holder == "a"


@pytest.mark.parametrize("damage", ["deleted", "emptied", "without a spec"])
def test_damage_is_repaired_by_the_leader_and_not_taken_for_a_release(server, clock, damage):
    a = leader("a", server, clock)
    b = standby("b", server, clock)
    clock.sleep(9)
    if damage == "deleted":
        gone = server.put(server.lease)
        server.lease = None
        a.saw_event("DELETED", gone)
        b.saw_event("DELETED", gone)
    else:
        spec = {"leaseDurationSeconds": 15} if damage == "emptied" else None
        damaged = server.put({**server.lease, "spec": spec})
        a.saw_event("MODIFIED", damaged)
        b.saw_event("MODIFIED", damaged)
    assert b.wait() == TIMING.duration
    assert a.leading
    assert a.wait() == 0
    assert claim(a, server, clock)
    assert server.lease["spec"]["holderIdentity"] == "a"


@pytest.mark.parametrize(("duration", "waits"), [(None, 15), (3, 15), (20, 20), (2**31 - 1, LONGEST)])
def test_the_duration_in_the_lease_counts_within_reason(server, clock, duration, waits):
    server.write(candidate("x", clock).claim(WALL, "here", "redisop"))
    server.put({**server.lease, "spec": {"holderIdentity": "x", "leaseDurationSeconds": duration}})
    b = candidate("b", clock)
    b.saw(server.lease)
    assert b.wait() == waits


def test_transitions_stay_within_what_the_api_server_can_hold(server, clock):
    server.write(candidate("x", clock).claim(WALL, "here", "redisop"))
    server.put({**server.lease, "spec": {"leaseTransitions": 2**31 - 1}})
    leader("b", server, clock)
    assert server.lease["spec"]["leaseTransitions"] == 0


@pytest.mark.parametrize("times", [(10, 10, 2), (15, 2.4, 2), (15, 10, 0), (1, 2, 3)])
def test_times_that_cannot_work_are_refused(times):
    with pytest.raises(InputError, match="renew deadline"):
        Timing(*times)


def test_scaled_times_keep_their_proportion():
    assert Timing.of(15) == Timing()
    assert Timing.of(1.5) == Timing(1.5, 1.0, 0.2)


def test_micro_time_has_six_digits_also_when_they_are_zero():
    assert micro_time(WALL) == "2026-05-04T03:02:01.000000Z"
    assert micro_time(WALL + timedelta(microseconds=70)) == "2026-05-04T03:02:01.000070Z"


class Process:
    """A candidate on a clock of its own, five per cent too slow or too fast, behind a network that loses and delays."""

    def __init__(self, world, name, rng):
        self.world, self.name, self.rng = world, name, rng
        self.rate, self.offset = rng.uniform(0.95, 1.05), rng.uniform(-1e6, 1e6)
        self.election = Election(name, TIMING, self.clock, jitter=rng.random)
        self.waiting_for = None
        self.not_before = 0.0
        self.frozen_until = 0.0
        self.deaf_until = 0.0

    def clock(self):
        return self.offset + self.rate * self.world.now

    @property
    def leading(self):
        return self.election.leading and self.world.now >= self.frozen_until

    def delay(self):
        return self.rng.choice([0.01, 0.05, 0.3, 3.0, 9.0]) if self.world.faulty else 0.01

    def lost(self):
        return self.world.faulty and self.rng.random() < 0.2

    def turn(self):
        if self.world.now < self.frozen_until or self.waiting_for is not None or self.world.now < self.not_before:
            return
        if self.election.wait() <= 0:
            wall = WALL + timedelta(seconds=self.world.now + self.rng.uniform(-4000, 4000))
            self.send(self.election.claim(wall, "here", "redisop"))

    def send(self, lease):
        ticket = self.waiting_for = object()
        sent = self.clock()
        # An abandoned request may still arrive, much later.
        self.world.after(TIMING.timeout / self.rate, lambda: self.answered(ticket, None, sent))
        if self.lost():
            return

        def arrive():
            answer = self.world.write(lease)
            if not self.lost():
                self.world.after(self.delay(), lambda: self.answered(ticket, answer, sent))

        self.world.after(self.delay(), arrive)

    def answered(self, ticket, answer, sent):
        if self.waiting_for is not ticket:
            return
        self.waiting_for = None
        self.not_before = self.world.now + self.rng.uniform(0.1, 2.0)
        if answer == "refused":
            # The read that follows is one that does not fail; one that does is a lost answer.
            self.election.saw(self.world.server.lease)
        elif answer is not None:
            self.election.accepted(answer, sent)

    def hear(self, event, lease):
        if self.world.now >= self.deaf_until:
            self.election.saw_event(event, lease)


class World:
    """Simulated seconds, one server and some processes; `overlaps` counts the moments at which two led."""

    def __init__(self, seed, count):
        rng = self.rng = random.Random(seed)
        self.now, self.faulty = 0.0, False
        self.server = Server()
        self.todo = []
        self.order = itertools.count()
        self.processes = [Process(self, f"p{number}", rng) for number in range(count)]
        self.overlaps = 0
        self.leaders = set()
        self.deletable_from = 60.0
        for process in self.processes:
            process.election.saw(None)

    def after(self, seconds, action):
        heapq.heappush(self.todo, (self.now + seconds, next(self.order), action))

    def write(self, lease):
        answer = self.server.write(lease)
        if answer is not None:
            self.tell("MODIFIED", answer)
        return answer or "refused"

    def tell(self, event, lease):
        for process in self.processes:
            self.after(process.delay(), lambda process=process: process.hear(event, lease))

    def disturb(self):
        victim = self.rng.choice(self.processes)
        kind = self.rng.choice(["freeze", "deafen", "delete", "empty", "annotate"])
        if kind == "freeze":
            victim.frozen_until = self.now + self.rng.uniform(1, 60)
        elif kind == "deafen":
            victim.deaf_until = self.now + self.rng.uniform(1, 60)
        elif self.server.lease is None or (kind == "delete" and self.now < self.deletable_from):
            return
        elif kind == "delete":
            # A create cannot have a version as precondition: who saw only the first of two deletions in a row
            # may create the Lease beside a leader that created it in between.
            self.deletable_from = self.now + 60
            gone = self.server.put(self.server.lease)
            self.server.lease = None
            self.tell("DELETED", gone)
        elif kind == "empty":
            self.tell("MODIFIED", self.server.put({**self.server.lease, "spec": {}}))
        else:
            metadata = {**self.server.lease["metadata"], "annotations": {"at": str(self.now)}}
            self.tell("MODIFIED", self.server.put({**self.server.lease, "metadata": metadata}))

    def run(self, seconds):
        end = self.now + seconds
        while self.now < end:
            self.now += 0.05
            while self.todo and self.todo[0][0] <= self.now:
                heapq.heappop(self.todo)[2]()
            if self.faulty and self.rng.random() < 0.005:
                self.disturb()
            for process in self.processes:
                process.turn()
            leading = [process.name for process in self.processes if process.leading]
            self.leaders.update(leading)
            self.overlaps += len(leading) > 1


@pytest.mark.parametrize("seed", range(40))
def test_never_two_leaders_and_always_one_again(seed):
    world = World(seed, count=3)
    world.run(5)
    world.faulty = True
    world.run(300)
    world.faulty = False
    world.run(80)
    steady = [process.name for process in world.processes if process.leading]
    assert world.overlaps == 0
    assert len(steady) == 1
    before = world.leaders
    world.leaders = set()
    world.run(30)
    assert world.leaders == set(steady)
    assert before
