"""How answers that a real API server does not give on demand become errors; the rest is in tests/controlplane."""

import asyncio
import base64
import json
import traceback

import pytest

from redisop import client as client_module
from redisop.errors import ApiError, Conflict, ConnectionFailed, Gone, NotFound
from redisop.kinds import CONFIG_MAP, SERVICE, Ref
from tests.unit.wire import cut, failure, reply, stream, wire

PLANTED = base64.b64encode(b"hunter2").decode()


def secret():
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "team"},
        "data": {"password": PLANTED},
    }


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (reply("502 Bad Gateway", b"<html>no</html>", "Content-Type: text/html"), ApiError, "502 Bad Gateway"),
        (reply("500 Internal Server Error", b"boom"), ApiError, "500 Internal Server Error"),
        (reply("503 Service Unavailable", b""), ApiError, "503"),
        (reply("301 Moved", b"", "Location: /x"), ApiError, "301"),
        (reply("200 OK", b'{"kind": "Serv'), ConnectionFailed, "not a JSON object"),
        (reply("200 OK", b"[1]"), ConnectionFailed, "not a JSON object"),
        (reply("200 OK", b"\xff\xfe"), ConnectionFailed, "not a JSON object"),
        (cut(reply("200 OK", b"{}")[:-1]), ConnectionFailed, "services"),
        (cut(), ConnectionFailed, "services"),
        (cut(b"SSH-2.0-OpenSSH\r\n\r\n"), ConnectionFailed, "services"),
        (failure(404, "gone"), NotFound, "gone"),
        (failure(409, "stale"), Conflict, "stale"),
        (failure(410, "too old"), Gone, "too old"),
    ],
)
async def test_every_failure_has_its_error(answer, error, text):
    async with wire(answer) as (client, _):
        with pytest.raises(error, match=text):
            await client.get(SERVICE, "team", "x")


async def test_a_refused_connection_is_a_failed_connection():
    async with wire() as (client, _):
        pass
    async with wire() as (other, _):
        client._http = other._http
        client._http.base_url = "http://127.0.0.1:1"
        with pytest.raises(ConnectionFailed, match="ConnectError"):
            await client.list(SERVICE)


@pytest.mark.parametrize(
    ("headers", "details", "seconds"),
    [(["Retry-After: 7"], {}, 7), ([], {"retryAfterSeconds": 3}, 3), (["Retry-After: Wed, 21 Oct"], {}, None)],
)
async def test_retry_after_is_kept(headers, details, seconds):
    async with wire(failure(429, "slow down", *headers, details=details)) as (client, _):
        with pytest.raises(ApiError) as caught:
            await client.get(SERVICE, "team", "x")
    assert caught.value.retry_after == seconds
    assert not caught.value.terminal


async def test_an_error_about_a_secret_quotes_neither_the_request_nor_the_answer():
    message = f'Secret "s" is invalid: data[password]: Invalid value: "{PLANTED}"'
    causes = [{"reason": "FieldValueInvalid", "field": "data[password]", "message": f"no: {PLANTED}"}]
    refusals = [
        failure(422, message, reason="Invalid", details={"name": "s", "causes": causes}),
        failure(500, f'failed to create typed patch object (team/s): .data: got "{PLANTED}"'),
        reply("400 Bad Request", PLANTED.encode()),
        cut(),
        reply("200 OK", PLANTED.encode()),
    ]
    seen = []
    for refusal in refusals:
        async with wire(refusal) as (client, _):
            try:
                await client.apply(secret())
            except (ApiError, ConnectionFailed) as error:
                chain: BaseException | None = error
                while chain is not None:
                    seen.append("".join(traceback.format_exception(chain)) + repr(vars(chain)))
                    chain = chain.__cause__ or chain.__context__
    assert len(seen) == len(refusals)
    assert not any(PLANTED in text for text in seen)
    assert "data[password]" in seen[0]
    assert "failed to create typed patch object" in seen[1], "it decides that trying again is pointless"


async def test_an_apply_is_json_that_yaml_reads_alike_with_a_manager_and_strict_validation():
    obj = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "t"},
        "data": {"a": "\x85é\x7f😀 \\u0085"},
    }
    async with wire(reply("200 OK", obj)) as (client, server):
        assert await client.apply(obj, subresource="status", dry_run=True) == obj
    line, headers, body = server.requests[0]
    assert line.startswith("PATCH /api/v1/namespaces/t/configmaps/c/status?")
    assert all(part in line for part in ("fieldManager=redisop", "force=true", "fieldValidation=Strict", "dryRun=All"))
    assert headers["content-type"] == "application/apply-patch+yaml"
    assert all(ord(char) < 0x7F or ord(char) > 0xFFFF for char in body.decode())
    assert json.loads(body) == obj


async def test_a_delete_names_exactly_what_was_seen():
    async with wire(reply("200 OK", {"kind": "Status"})) as (client, server):
        await client.delete(Ref("v1", "Pod", "t", "p"), uid="u", resource_version="9", propagation="Orphan")
    assert json.loads(server.requests[0][2])["preconditions"] == {"uid": "u", "resourceVersion": "9"}
    assert json.loads(server.requests[0][2])["propagationPolicy"] == "Orphan"


async def test_a_list_whose_snapshot_is_compacted_between_pages_is_read_whole():
    first = {"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a"}}]}
    whole = {"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": name}} for name in "abc"]}
    async with wire(reply("200 OK", first), failure(410, "expired"), reply("200 OK", whole)) as (client, server):
        page = await client.list(CONFIG_MAP, selector="a=b")
    assert [item["metadata"]["name"] for item in page.items] == ["a", "b", "c"]
    assert page.items[0]["kind"] == "ConfigMap"
    assert page.resource_version == "9"
    assert "limit" not in server.requests[2][0]
    assert "labelSelector=a%3Db" in server.requests[2][0]


def event(name, **more):
    return {"type": "ADDED", "object": {"metadata": {"name": name, "resourceVersion": "1"}, **more}}


async def names(client, **arguments):
    found = []
    async with client.watch(CONFIG_MAP, resource_version="1", **arguments) as events:
        async for item in events:
            found.append(item.object["metadata"]["name"])  # noqa: PERF401 - what came before an error counts
    return found


async def test_a_watch_splits_at_line_feeds_only_and_over_packets():
    line = json.dumps(event("split")).encode()
    odd = event("odd", data={"text": "\x85\u2028\x0b\x1c"})
    async with wire(stream(line[:20], line[20:], b"\n\n", odd, b'{"type": "ADD')) as (client, server):
        assert await names(client) == ["split", "odd"]
    assert "allowWatchBookmarks=true" in server.requests[0][0]
    seconds = int(server.requests[0][0].split("timeoutSeconds=")[1].split()[0].split("&")[0])
    assert 25 <= seconds <= 35


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (failure(410, "too old"), Gone),
        (stream({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}), Gone),
        (stream({"type": "ERROR", "object": {"kind": "Status", "code": 500}}), ApiError),
        (stream(b"not json\n"), ConnectionFailed),
        (stream({"type": "ADDED"}), ConnectionFailed),
    ],
)
async def test_a_watch_that_fails_says_how(answer, error):
    async with wire(answer) as (client, _):
        with pytest.raises(error):
            await names(client)


async def test_a_stream_that_falls_silent_ends_soon_after_its_time(monkeypatch):
    monkeypatch.setattr(client_module, "WATCH_GRACE", 0.2)

    async def silent(writer):
        await stream(event("a"))(writer)
        await asyncio.sleep(30)

    async with wire(silent) as (client, _), asyncio.timeout(3):
        with pytest.raises(ConnectionFailed, match="silent"):
            await names(client, timeout_seconds=0.3)


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ('secrets is forbidden: User "op" cannot create resource "secrets" in API group "" in the namespace "a"', True),
        ('secrets "s" is forbidden: exceeded quota: q, requested: count/secrets=1, used: 0, limited: 0', True),
        (f'secrets "s" is forbidden: the value {PLANTED} is weak', False),
        (f'admission webhook "x" denied: secrets "s" is forbidden: User "{PLANTED}" cannot ', False),
    ],
)
async def test_what_is_said_of_a_secret_is_kept_only_where_it_quotes_nothing(message, kept):
    async with wire(failure(403, message, reason="Forbidden")) as (client, _):
        with pytest.raises(ApiError) as caught:
            await client.apply(secret())
    assert (message in str(caught.value)) is kept
    assert PLANTED not in str(caught.value)
