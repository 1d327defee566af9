"""Events on a real API server: what `kubectl describe` tells of a real drift, series, and silence while nothing happens."""

import asyncio
import base64
import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from redisop.client import Client
from redisop.events import EventReason, EventSpec
from redisop.kinds import EVENT, INSTANCE, SECRET, STATEFUL_SET, Ref
from redisop.recorder import Recorder

pytestmark = pytest.mark.timeout(300)

running = pytest.mark.usefixtures("kubelet", "operator")


async def events_of(world, name="demo"):
    page = await world.client.list(EVENT, world.namespace)
    found = [
        event
        for event in page.items
        if event.get("regarding", {}).get("kind") == INSTANCE.name and event["regarding"]["name"] == name
    ]
    return sorted(found, key=lambda event: event["eventTime"])


def reasons(found):
    return [event["reason"] for event in found]


async def told(world, reason, count=1):
    async def done():
        found = [event for event in await events_of(world) if event["reason"] == reason]
        return found if len(found) >= count else None

    return await world.until(done, 20, f"no Event with the reason {reason}")


def describe(world, name="demo"):
    return world.cluster.kubectl("describe", "redishttpinstance", name, "-n", world.namespace).stdout


@running
async def test_the_life_of_an_instance_reads_like_a_story(world):
    world.create("demo")
    await world.ready("demo")
    await told(world, "Ready")
    stateful_set = Ref("apps/v1", "StatefulSet", world.namespace, "demo-redis")
    await world.send("PATCH", stateful_set, {"spec": {"replicas": 0}}, manager="careless-script")
    await told(world, "DriftCorrected")
    await world.ready("demo")
    await world.send("DELETE", Ref("v1", "Service", world.namespace, "demo-redis"))
    await told(world, "DriftCorrected", 2)
    await world.send("PATCH", world.key("demo"), {"spec": {"redisConfig": {"parameters": {"databases": 3}}}})
    (restart,) = await told(world, "Restarted")
    await world.ready("demo")
    await world.send("PATCH", world.key("demo"), {"spec": {"hibernated": True}})
    await told(world, "Hibernated")

    found = await events_of(world)
    first = found[0]
    assert first["reason"] == "Created"
    assert "StatefulSet/demo-redis" in first["note"]
    assert first["reportingController"] == "redis.kubegateway.io/redisop"
    assert all(event["type"] == "Normal" for event in found), "nothing of this is a problem"
    drifts = [event["note"] for event in found if event["reason"] == "DriftCorrected"]
    assert drifts[0] == "StatefulSet/demo-redis: .spec.replicas 0 → 1 (changed by careless-script)"
    assert drifts[1] == "Service/demo-redis was missing and has been created"
    assert restart["related"]["name"] == "demo-redis-0"
    assert "redis.conf" in restart["note"]
    shown = describe(world)
    assert re.search(
        r"Normal\s+DriftCorrected\s+\S+\s+\S+\s+StatefulSet/demo-redis: .spec.replicas 0 → 1 \(changed by", shown
    )
    story = shown[shown.index("Events:") :]
    order = [story.index(f" {word} ") for word in ("Created", "DriftCorrected", "Restarted", "Hibernated")]
    assert order == sorted(order)


@running
async def test_a_problem_is_a_warning_once_and_its_end_is_told(world):
    await world.send("POST", Ref("v1", "ConfigMap", world.namespace, ""), {"metadata": {"name": "demo-redis-config"}})
    world.create("demo")
    (conflict,) = await told(world, "NameConflict")
    assert conflict["type"] == "Warning"
    assert "ConfigMap/demo-redis-config" in conflict["note"]
    await world.send("DELETE", Ref("v1", "ConfigMap", world.namespace, "demo-redis-config"))
    await world.ready("demo", 60)
    (recovered,) = await told(world, "Recovered")
    assert recovered["note"].startswith("NameConflict is over.")
    assert reasons(await events_of(world)).count("NameConflict") == 1


@running
async def test_the_same_drift_again_is_one_event_with_a_count(world):
    world.create("demo")
    await world.ready("demo")
    for _ in range(4):
        before = await world.get(STATEFUL_SET, "demo-redis")
        await world.send(
            "PATCH", Ref("apps/v1", "StatefulSet", world.namespace, "demo-redis"), {"spec": {"replicas": 0}}
        )

        async def repaired(before=before):
            now = await world.get(STATEFUL_SET, "demo-redis")
            changed = now["metadata"]["generation"] >= before["metadata"]["generation"] + 2
            return changed and now["spec"]["replicas"] == 1

        await world.until(repaired)
        await world.ready("demo")

    async def counted():
        found = [event for event in await events_of(world) if event["reason"] == "DriftCorrected"]
        return found if found and found[0].get("series", {}).get("count") == 4 else None

    (drift,) = await world.until(counted)
    assert drift["series"]["lastObservedTime"] > drift["eventTime"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", drift["series"]["lastObservedTime"])
    assert "(x4 over" in describe(world)


@running
async def test_nothing_is_told_while_nothing_happens(world):
    world.create("demo")
    await world.ready("demo")
    await told(world, "Ready")
    before = [(event["metadata"]["name"], event["metadata"]["resourceVersion"]) for event in await events_of(world)]
    obj = await world.get(INSTANCE, "demo")
    # Passes that find nothing to do: somebody touches the instance and its Pod.
    for number in range(5):
        await world.send("PATCH", world.key("demo"), {"metadata": {"annotations": {"touched": str(number)}}})
        await asyncio.sleep(0.5)
    after = [(event["metadata"]["name"], event["metadata"]["resourceVersion"]) for event in await events_of(world)]
    assert after == before
    assert (await world.get(INSTANCE, "demo"))["status"] == obj["status"]


@running
async def test_a_planted_secret_is_in_no_event_and_no_log(world, operator):
    world.create("demo")
    await world.ready("demo")
    planted = "hunter2-planted-in-a-secret"
    ref = Ref("v1", "Secret", world.namespace, "demo-redis-acl")
    for value in (planted, planted + "-again"):
        encoded = base64.b64encode(value.encode()).decode()
        secret = await world.get(SECRET, ref.name)
        (name,) = (key for key in secret["data"] if key.endswith("acl"))
        body = {"data": {name: encoded}, "metadata": {"annotations": {"copied": planted}}}
        await world.send("PATCH", ref, body, manager="kubectl-edit")

        async def repaired(name=name, encoded=encoded):
            return (await world.get(SECRET, ref.name))["data"][name] != encoded

        await world.until(repaired)
    (drift,) = await told(world, "DriftCorrected")
    assert "(changed by kubectl-edit)" in drift["note"]
    assert "(hidden)" in drift["note"]
    made = await world.get(SECRET, "demo-redis-credentials")
    secrets = [planted, base64.b64encode(planted.encode()).decode()[:-4]]
    for value in made["data"].values():
        secrets += [value, base64.b64decode(value).decode()]
    text = (
        json.dumps(await events_of(world)) + operator.output + json.dumps((await world.get(INSTANCE, "demo"))["status"])
    )
    assert [secret for secret in secrets if secret in text] == []
    assert '"reconciled"' in operator.output, "the log was read"


async def test_a_recorder_meets_the_validation_of_a_real_server(own_control_plane, namespace):
    moment = [datetime(2026, 1, 1, tzinfo=UTC)]
    fates: list[str] = []
    regarding = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a" * 45, "namespace": namespace, "uid": "3f1c4f5e-0000-4000-8000-000000000000"},
    }
    longest = EventSpec(EventReason.CHANGED, "ä" * 512, "Change", related=Ref("v1", "Secret", namespace, "x"))
    async with Client.connect(own_control_plane.kubeconfig) as client:
        rec = Recorder(client, "p" * 500, counted=fates.append, now=lambda: moment[0])
        rec.record(regarding, longest)
        await rec.drain(5)
        moment[0] += timedelta(seconds=1)
        for _ in range(3):
            rec.record(regarding, longest)
        await rec.drain(5)
        (event,) = (await client.list(EVENT, namespace)).items
        assert event["series"] == {"count": 4, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}
        # One that expired is not made anew as a series of something nobody can see.
        own_control_plane.kubectl("delete", "events", "--all", "-n", namespace)
        rec.record(regarding, longest)
        await rec.drain(5)
        (event,) = (await client.list(EVENT, namespace)).items
        assert "series" not in event
    assert fates == ["written"] * 3


async def test_events_that_may_not_be_written_cost_no_reconcile(own_control_plane, namespace):
    fates: list[str] = []
    regarding = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": namespace, "uid": "u"}}
    async with Client.connect(own_control_plane.kubeconfig_for("nobody-at-all")) as client:
        rec = Recorder(client, "p", counted=fates.append)
        rec.record(regarding, EventSpec(EventReason.CHANGED, "a note"))
        await rec.drain(5)
    assert fates == ["failed"]
