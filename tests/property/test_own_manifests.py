"""Plans of the project's own manifests on a real API server: nothing to do after a restart, and every drift named and healed."""

import random
import time
from typing import Any

import pytest

from redisop.client import Client
from redisop.decide import decide
from redisop.fieldset import diff, entry
from redisop.graph import OWNER_UID
from redisop.kinds import INSTANCE, MANAGER, Object, controller_of, kind_of
from redisop.plan import MISSING, Action, Op, Step, plan_object, request
from redisop.values import materialise
from tests.converged import converge, install
from tests.property.edits import KEYS, Path, as_json_patch, changed, show, sites
from tests.property.server import JSON_PATCH, MERGE_PATCH, Server
from tests.unit.instances import SETTINGS, SPECS

pytestmark = pytest.mark.timeout(300)


class Converged:
    """An instance whose objects are all as wanted."""

    def __init__(self, server: Server, instance: Object) -> None:
        self.server, self.instance = server, instance

    def path(self, step: Step) -> str:
        return kind_of(step.ref).path(step.ref.namespace, step.ref.name)

    def live(self, step: Step) -> Object:
        answer = self.server.get(self.path(step))
        assert answer.ok, answer
        found: Object = answer.body
        return found

    def plan(self) -> tuple[Step, ...]:
        """Plan from what the server has now, with nothing settled: as after a restart."""
        live = {}
        for step in decide(self.instance, {}, {}, SETTINGS).plan.steps:
            answer = self.server.get(self.path(step))
            if answer.ok:
                live[step.ref] = answer.body
        return decide(self.instance, live, {}, SETTINGS).plan.steps

    def replan(self, step: Step) -> Step:
        assert step.want is not None
        return plan_object(step.want, self.live(step), {}, owner_uid=self.instance["metadata"]["uid"])

    def delete(self, step: Step) -> None:
        assert self.server.request("DELETE", self.path(step), {"propagationPolicy": "Orphan"}).ok
        deadline = time.monotonic() + 30
        while self.server.get(self.path(step)).status != 404:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def heal(self, step: Step) -> None:
        for _ in range(20):
            planned = self.replan(step)
            if planned.action is Action.REPLACE:
                self.delete(step)
            answer = self.server.apply(self.path(step), materialise(request(planned)))
            if answer.status != 409:
                break
        assert answer.ok, answer
        again = self.replan(step)
        assert again.action is Action.UNCHANGED, again.changes


@pytest.fixture
async def converged(request, own_control_plane, namespace):
    install(own_control_plane)
    if "scheduling" in SPECS[request.param]:
        important = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "important"}}
        own_control_plane.apply({**important, "value": 1000})
    server = Server(own_control_plane)
    body = {
        "apiVersion": INSTANCE.api_version,
        "kind": INSTANCE.name,
        "metadata": {"name": request.param, "namespace": namespace},
        "spec": SPECS[request.param],
    }
    answer = server.apply(INSTANCE.path(namespace, request.param), body, "user")
    assert answer.ok, answer
    async with Client.connect(own_control_plane.kubeconfig) as client:
        await converge(client, answer.body, SETTINGS)
    yield Converged(server, answer.body)
    server.close()


every_instance = pytest.mark.parametrize("converged", SPECS, indirect=True)


@every_instance
async def test_a_restart_finds_nothing_to_do(converged):
    steps = converged.plan()
    assert len(steps) >= 9
    assert {step.ref: step.changes for step in steps if step.action is not Action.UNCHANGED} == {}


@every_instance
async def test_what_others_add_is_none_of_our_business(converged):
    patch = {"metadata": {"labels": {"theirs": "x"}, "annotations": {"theirs": "y"}}}
    for step in converged.plan():
        assert converged.server.request("PATCH", converged.path(step), patch, MERGE_PATCH, fieldManager="them").ok
    assert [step.ref for step in converged.plan() if step.action is not Action.UNCHANGED] == []


def leaves(step: Step) -> list[tuple[Path, Any]]:
    """Return (path, value) of every scalar we want, but what makes an item of a list the item that it is."""
    assert step.want is not None
    return [
        (path, value)
        for path, value in sites(step.want)
        if not isinstance(value, dict | list)
        and path not in {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")}
        and path[:2] != ("metadata", "ownerReferences")
        and not (path[-1] in KEYS and any(isinstance(part, int) for part in path))
    ]


class Drift:
    """Tries one change of a field after the other, and counts what the server let through."""

    def __init__(self, converged: Converged) -> None:
        self.converged, self.tried, self.done = converged, 0, 0
        self.problems: list[str] = []

    def run(self, step: Step, patch: Any, path: Path, *, named: bool) -> None:
        server, url = self.converged.server, self.converged.path(step)
        self.tried += 1
        before = self.converged.live(step)
        answer = server.request("PATCH", url, patch, JSON_PATCH, fieldManager="drifter")
        if not answer.ok:
            return
        mine = entry(before, MANAGER)
        if mine is not None and step.want is not None and not diff(step.want, mine.fields, answer.body):
            own = entry(answer.body, MANAGER)
            if own is not None and own.fields == mine.fields:
                # The server put back at once what was taken away: a default.
                return
        self.done += 1
        found = self.converged.replan(step)
        # Who takes a field away leaves no name: nobody owns what is not there, and a false is often not stored.
        told = [
            change
            for change in found.changes
            if change.manager == "drifter" or not named or (change.op is Op.SET and change.old is MISSING)
        ]
        if found.action not in {Action.APPLY, Action.REPLACE} or not told:
            self.problems.append(f"{step.ref} {path}: {found.action} {show([str(change) for change in found.changes])}")
        self.converged.heal(step)


@pytest.mark.parametrize("converged", ["exporter", "appendonly"], indirect=True)
async def test_drift_of_any_field_is_named_and_healed(converged):
    rng = random.Random(1)
    drift, removal = Drift(converged), Drift(converged)
    for step in converged.plan():
        for path, value in leaves(step):
            new = (
                changed(rng, value)
                if not isinstance(value, str)
                else "eHg="
                if step.ref.kind == "Secret"
                else value + "x"
            )
            drift.run(step, as_json_patch(converged.live(step), path, new), path, named=True)
            removal.run(step, as_json_patch(converged.live(step), path, None), path, named=False)
    print(f"\nchanged: {drift.done} of {drift.tried} allowed; removed: {removal.done} of {removal.tried}")
    problems = "\n".join(drift.problems + removal.problems)
    assert not problems, problems
    assert drift.done >= 60
    assert removal.done >= 60


@pytest.mark.parametrize("converged", ["minimal"], indirect=True)
async def test_removed_owner_references_are_healed_unless_the_object_is_an_orphan_of_another(converged):
    for step in converged.plan():
        converged.server.request("PATCH", converged.path(step), {"metadata": {"ownerReferences": None}}, MERGE_PATCH)
        assert controller_of(converged.live(step)) is None
        assert [change.path.split("[")[0] for change in converged.replan(step).changes] == [".metadata.ownerReferences"]
        converged.heal(step)
        earlier = {"metadata": {"ownerReferences": None, "annotations": {OWNER_UID: "earlier"}}}
        converged.server.request("PATCH", converged.path(step), earlier, MERGE_PATCH)
        assert converged.replan(step).action is Action.CONFLICT
