"""What the API server really answers to each of the client's requests; broken answers are in tests/unit."""

import asyncio
import json
import traceback
from typing import Any

import pytest

from redisop.client import Client
from redisop.errors import ApiError, Conflict, NotFound
from redisop.kinds import CONFIG_MAP, OWNED, SECRET, SERVICE, ref_of

ODD = "\x85 \u2028 \u2029 é 😀 \x0b"


@pytest.fixture
async def client(control_plane):
    async with Client.connect(control_plane.kubeconfig) as connected:
        yield connected


def config_map(namespace, name="c", **metadata):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "data": {"text": ODD},
    }


SPECS: dict[str, dict[str, Any]] = {
    "Service": {"spec": {"ports": [{"port": 80, "protocol": "TCP"}]}},
    "StatefulSet": {
        "spec": {
            "replicas": 0,
            "serviceName": "x",
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        }
    },
    "NetworkPolicy": {"spec": {"podSelector": {"matchLabels": {"a": "b"}}, "policyTypes": ["Ingress"]}},
    "PodDisruptionBudget": {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"a": "b"}}}},
}


@pytest.mark.parametrize("kind", OWNED, ids=lambda kind: kind.name)
async def test_preconditions_hold_for_every_kind_we_write(client, namespace, kind):
    """The contract that every write stands on; undocumented in part, so every version has to prove it."""
    want = {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {"name": "x", "namespace": namespace},
        **SPECS.get(kind.name, {}),
    }

    def asking(**metadata):
        return {**want, "metadata": {**want["metadata"], "annotations": {"a": "1"}, **metadata}}

    await client.apply(asking(resourceVersion="1"))
    # Their controllers write a status at once, which moves the version on.
    await asyncio.sleep(1)
    first = await client.get(kind, namespace, "x")
    uid, version = first["metadata"]["uid"], first["metadata"]["resourceVersion"]
    with pytest.raises(Conflict):
        await client.apply(asking(resourceVersion="1"))
    changed = asking(uid=uid, resourceVersion=version, labels={"b": "2"})
    await client.apply(changed)
    await asyncio.sleep(0.5)
    second = await client.get(kind, namespace, "x")
    with pytest.raises(Conflict):
        await client.apply({**changed, "metadata": {**changed["metadata"], "labels": {"b": "3"}}})
    with pytest.raises(ApiError) as other:
        await client.apply(
            asking(uid="00000000-0000-4000-8000-000000000000", resourceVersion=second["metadata"]["resourceVersion"])
        )
    assert other.value.code == 409 or "metadata.uid" in [cause.field for cause in other.value.causes]
    with pytest.raises(Conflict):
        await client.delete(ref_of(want), uid=uid, resource_version=version)
    last = await client.get(kind, namespace, "x")
    await client.delete(ref_of(want), uid=uid, resource_version=last["metadata"]["resourceVersion"])
    with pytest.raises(Conflict):
        await client.apply(asking(uid=uid, resourceVersion=last["metadata"]["resourceVersion"]))
    with pytest.raises(NotFound):
        await client.get(kind, namespace, "x")


async def test_text_survives_an_apply_and_a_watch(client, namespace):
    made = await client.apply(config_map(namespace))
    assert made["data"]["text"] == ODD
    page = await client.list(CONFIG_MAP, namespace)
    async with client.watch(CONFIG_MAP, namespace, resource_version=page.resource_version) as events:
        await client.apply(config_map(namespace, labels={"odd": "yes"}))
        async for event in events:
            assert event.type == "MODIFIED"
            assert event.object["data"]["text"] == ODD
            break


async def test_lists_are_complete_however_small_their_pages(client, namespace):
    for number in range(7):
        await client.apply(config_map(namespace, f"n{number}", labels={"which": "these"}))
    page = await client.list(CONFIG_MAP, namespace, selector="which=these", limit=2)
    assert [item["metadata"]["name"] for item in page.items] == [f"n{number}" for number in range(7)]
    assert {(item["apiVersion"], item["kind"]) for item in page.items} == {("v1", "ConfigMap")}


async def test_a_watch_goes_on_from_where_it_ended_and_misses_nothing(client, namespace):
    page = await client.list(CONFIG_MAP, namespace, selector="which=these")
    version = page.resource_version
    seen: list[str] = []

    async def follow():
        nonlocal version
        while len(seen) < 12:
            async with client.watch(
                CONFIG_MAP, namespace, selector="which=these", resource_version=version, timeout_seconds=1
            ) as events:
                async for event in events:
                    version = event.object["metadata"]["resourceVersion"]
                    if event.type != "BOOKMARK":
                        seen.append(event.object["metadata"]["name"])

    task = asyncio.create_task(follow())
    for number in range(12):
        await client.apply(config_map(namespace, f"n{number}", labels={"which": "these"}))
        await asyncio.sleep(0.25)
    await asyncio.wait_for(task, 10)
    assert seen == [f"n{number}" for number in range(12)]


async def test_an_unknown_field_is_refused_and_trying_again_is_pointless(client, namespace):
    with pytest.raises(ApiError) as caught:
        await client.apply({**config_map(namespace), "dataa": {}})
    assert caught.value.terminal


async def test_a_dry_run_changes_nothing(client, namespace):
    assert (await client.apply(config_map(namespace), dry_run=True))["data"]["text"] == ODD
    with pytest.raises(NotFound):
        await client.get(CONFIG_MAP, namespace, "c")


async def test_an_update_needs_the_version_it_was_made_from(client, namespace):
    made = await client.apply(config_map(namespace))
    await client.update({**made, "data": {"text": "new"}})
    with pytest.raises(Conflict):
        await client.update({**made, "data": {"text": "newer"}})


async def test_refusals_of_a_secret_never_quote_it(client, namespace):
    planted = "hunter2-never-to-be-seen"
    bad: list[dict[str, Any]] = [
        {"data": {"password": planted}},
        {"data": {"password": [planted]}},
        {"type": "kubernetes.io/tls", "data": {"tls.crt": "aHVudGVyMg=="}},
    ]
    for content in bad:
        with pytest.raises(ApiError) as caught:
            await client.apply(
                {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": namespace}, **content}
            )
        text = "".join(traceback.format_exception(caught.value)) + json.dumps(vars(caught.value), default=str)
        assert planted not in text
    with pytest.raises(NotFound):
        await client.get(SECRET, namespace, "s")


async def test_a_namespace_that_does_not_exist_is_not_found(client):
    with pytest.raises(NotFound):
        await client.apply(config_map("no-such-namespace"))
    assert (await client.list(SERVICE, "no-such-namespace")).items == []


async def test_readiness_is_a_plain_question(client):
    assert await client.ready()
