"""Probes, the server behind them, and who may read the metrics. Over real sockets; the API server's part is scripted here."""

import asyncio
import json
import ssl
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any, cast

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from redisop import httpserver
from redisop.access import Access
from redisop.errors import InputError
from redisop.health import BEAT, LATE, STUCK, Health, Heartbeat, progress, synced
from redisop.httpserver import HttpServer, Request, Response
from redisop.kinds import SECRET, SERVICE
from redisop.reflector import Reflector
from redisop.store import Store
from tests.unit.wire import failure, reply, wire


@pytest.fixture
async def serving():
    """Yield a function that serves a handler and returns the server."""
    tasks = []

    async def serve(handler, **options):
        server = HttpServer(handler, "127.0.0.1", 0, **options)
        await server.listen()
        tasks.append(asyncio.create_task(server.run()))
        return server

    yield serve
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def hello(request):
    return Response(HTTPStatus.OK, f"{request.method} {request.path}\n".encode())


async def talk(server, *parts, wait=0.0, context=None):
    """Send `parts` with pauses; return all that is answered until the server closes."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.port, ssl=context, server_hostname="localhost" if context else None
    )
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(wait)
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def until(true, seconds=5.0):
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.02)


def get(path, *headers, close=True):
    lines = [f"GET {path} HTTP/1.1", "Host: x", *headers, *(["Connection: close"] if close else [])]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


async def test_a_connection_serves_request_after_request(serving):
    server = await serving(hello)
    answers = await talk(server, get("/a", close=False), get("/b?x=1", close=False) + get("/c"))
    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert [path in answers for path in (b"GET /a\n", b"GET /b\n", b"GET /c\n")] == [True] * 3


async def test_head_has_no_body_and_nothing_else_is_taken(serving):
    server = await serving(hello)
    head = await talk(server, b"HEAD /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert head.endswith(b"\r\n\r\n")
    refused = await talk(server, b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
    assert refused.startswith(b"HTTP/1.1 405")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01 not HTTP\r\n\r\n", b"400"),
        (b"GET /\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * httpserver.HEAD_BYTES, b"431"),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n" + b"a" * 9999,
            b"413",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
            b"411",
        ),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", b"400"),
    ],
)
async def test_what_is_not_a_small_plain_request_is_refused_and_the_connection_closed(serving, sent, status):
    server = await serving(hello)
    answer = await talk(server, sent)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.count(b"HTTP/1.1") == 1
    assert (await talk(server, get("/still-here"))).startswith(b"HTTP/1.1 200")


async def test_a_header_given_twice_counts_as_not_given(serving):
    seen = []

    async def handler(request):
        seen.append(request.headers)
        return Response(HTTPStatus.OK)

    server = await serving(handler)
    await talk(server, get("/", "Authorization: Bearer a", "authorization: Bearer b", "X-One: 1"))
    assert "authorization" not in seen[0]
    assert seen[0]["x-one"] == "1"


async def test_who_is_slow_to_ask_is_let_go(serving, monkeypatch):
    monkeypatch.setattr(httpserver, "FIRST_REQUEST", 0.3)
    server = await serving(hello)
    started = time.monotonic()
    assert await talk(server, b"GET / HT") == b""
    assert await talk(server, *[b"GET / HTTP/1.1\r\nA: b\r\n"] + [b"C: d\r\n"] * 20, wait=0.05) == b""
    assert time.monotonic() - started < 4


async def test_an_idle_connection_is_closed(serving, monkeypatch):
    monkeypatch.setattr(httpserver, "IDLE", 0.2)
    server = await serving(hello)
    assert (await talk(server, get("/", close=False))).startswith(b"HTTP/1.1 200")


async def test_who_does_not_take_the_answer_is_let_go(serving, monkeypatch):
    monkeypatch.setattr(httpserver, "ANSWER", 0.3)

    async def large(_request):
        return Response(HTTPStatus.OK, b"a" * 50_000_000)

    server = await serving(large)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
    writer.write(get("/"))
    await until(lambda: bool(server._open))
    await until(lambda: not server._open)
    writer.close()


async def test_who_hoards_connections_cannot_keep_a_probe_from_its_answer(serving, monkeypatch):
    monkeypatch.setattr(httpserver, "CONNECTIONS", 8)
    server = await serving(hello)
    hoard = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(30)]
    assert (await talk(server, get("/healthz"))).startswith(b"HTTP/1.1 200")
    await asyncio.sleep(0.1)
    assert len(server._open) <= 8
    for _, writer in hoard:
        writer.close()


async def test_a_handler_that_fails_or_hangs_is_an_answer_too(serving, monkeypatch, caplog):
    monkeypatch.setattr(httpserver, "ANSWER", 0.2)

    async def handler(request):
        if request.path == "/slow":
            await anyio.sleep(60)
        raise ValueError("hunter2")

    server = await serving(handler)
    assert (await talk(server, get("/slow"))).startswith(b"HTTP/1.1 503")
    answer = await talk(server, get("/broken"))
    assert answer.startswith(b"HTTP/1.1 500")
    assert b"hunter2" not in answer
    assert "cannot answer /broken" in caplog.text


async def test_an_address_that_is_taken_is_an_error_of_the_user(serving):
    server = await serving(hello)
    with pytest.raises(InputError, match="cannot listen there"):
        await HttpServer(hello, "127.0.0.1", server.port).listen()


def certificate(folder, name):
    """Write a self-signed certificate; return its files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    files = folder / "tls.crt", folder / "tls.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, *pem))
    return files


def trusting():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def test_tls_by_files_and_a_renewed_certificate_without_a_restart(serving, tmp_path, monkeypatch):
    monkeypatch.setattr(httpserver, "RELOAD", 0.05)
    server = await serving(hello, tls=certificate(tmp_path, "first"))
    assert (await talk(server, get("/"), context=trusting())).startswith(b"HTTP/1.1 200")
    assert await talk(server, get("/")) == b"", "plain text is not answered"
    first = await peer(server)
    (tmp_path / "tls.crt").write_text("half written")
    await asyncio.sleep(0.2)
    assert await peer(server) == first, "a broken pair leaves the one in use"
    certificate(tmp_path, "second")
    seen = [first]

    async def look():
        while seen[-1] == first:
            seen.append(await peer(server))

    await asyncio.wait_for(look(), 5)


async def peer(server):
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trusting(), server_hostname="localhost")
    try:
        return writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()


async def test_a_handshake_that_never_comes_is_let_go(serving, tmp_path, monkeypatch):
    monkeypatch.setattr(httpserver, "FIRST_REQUEST", 0.2)
    server = await serving(hello, tls=certificate(tmp_path, "x"))
    assert await talk(server) == b""


def test_files_that_are_no_certificate_are_an_error_of_the_user(tmp_path):
    files = certificate(tmp_path, "x")
    files[1].write_text("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n")
    with pytest.raises(InputError, match=r"tls\.crt") as caught:
        HttpServer(hello, "127.0.0.1", 0, tls=files)
    assert "hunter2" not in str(caught.value)


def asked(path):
    return Request("GET", path, {})


async def test_probes_answer_by_their_checks():
    wrong = {"loop": "", "workers": ""}
    ready = {"caches": "not read yet: services"}
    health = Health(
        {name: partial(wrong.__getitem__, name) for name in wrong},
        {name: partial(ready.__getitem__, name) for name in ready},
    )
    assert (await health.answer(asked("/healthz"))).status == 200
    answer = await health.answer(asked("/readyz"))
    assert (answer.status, answer.body) == (503, b"[-] caches: not read yet: services\n")
    wrong["workers"], ready["caches"] = "stuck", ""
    answer = await health.answer(asked("/healthz"))
    assert (answer.status, answer.body) == (503, b"[+] loop\n[-] workers: stuck\n")
    assert (await health.answer(asked("/readyz"))).body == b"[+] caches\n"
    assert (await health.answer(asked("/metrics"))).status == 404


def test_a_worker_that_does_not_come_back_is_noticed():
    seconds = [STUCK]
    check = progress(lambda: seconds[0])
    assert check() == ""
    seconds[0] += 1
    assert "601 s" in check()


def test_caches_count_once_each_has_read_a_list():
    nobody = cast("Any", None)
    reflectors = [Reflector(nobody, Store(), kind, changed=lambda _old, _new: None) for kind in (SERVICE, SECRET)]
    check = synced(reflectors)
    assert check() == "not read yet: secrets, services"
    reflectors[1].synced.set()
    assert check() == "not read yet: services"
    reflectors[0].synced.set()
    assert check() == ""


async def test_a_loop_that_does_not_come_round_is_noticed(monkeypatch):
    lags: list[float] = []
    now = [0.0]
    beat = Heartbeat(lags.append, clock=lambda: now[0])
    assert beat.problem() == ""
    now[0] += LATE + 1
    assert "no turn for 16 s" in beat.problem()
    monkeypatch.setattr("redisop.health.BEAT", 0.01)
    async with anyio.create_task_group() as group:
        group.start_soon(beat.run)
        await asyncio.sleep(0.05)
        assert beat.problem() == ""
        now[0] += 5
        await asyncio.sleep(0.05)
        group.cancel_scope.cancel()
    assert max(lags) == pytest.approx(5 - 0.01)
    assert BEAT < LATE


async def test_a_blocked_loop_leaves_the_probe_without_an_answer(serving):
    server = await serving(hello)

    def probe():
        import urllib.request

        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz", timeout=0.3) as answer:
            return answer.status

    assert await asyncio.to_thread(probe) == 200
    task = asyncio.create_task(asyncio.to_thread(probe))
    await asyncio.sleep(0)
    time.sleep(1)  # noqa: ASYNC251 - this is the blocked loop
    with pytest.raises(OSError, match="timed out"):
        await task


TOKEN = "planted-token-hunter2"


def bearer(token=TOKEN):
    return Request("GET", "/metrics", {"authorization": f"Bearer {token}"})


def known(user="system:serviceaccount:monitoring:prometheus", **more):
    return reply("201 Created", {"status": {"authenticated": True, "user": {"username": user, **more}}})


def access(allowed, **more):
    return reply("201 Created", {"status": {"allowed": allowed, **more}})


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


async def verdict(checks, request):
    refusal = await checks.refusal(request)
    return 200 if refusal is None else int(refusal.status)


async def test_who_may_read_is_asked_once_and_remembered_for_a_while():
    clock = Clock()
    groups = ["system:serviceaccounts", "system:authenticated"]
    more = {"groups": groups, "uid": "u", "extra": {"k": ["v"]}}
    async with wire(known(**more), access(True), known(), access(False)) as (client, server):
        checks = Access(client, clock=clock)
        assert [await verdict(checks, bearer()) for _ in range(3)] == [200, 200, 200]
        assert len(server.requests) == 2
        clock.now += 61
        assert await verdict(checks, bearer()) == 403
    lines = [request[0] for request in server.requests[:2]]
    assert lines[0].startswith("POST /apis/authentication.k8s.io/v1/tokenreviews")
    assert lines[1].startswith("POST /apis/authorization.k8s.io/v1/subjectaccessreviews")
    assert json.loads(server.requests[0][2])["spec"] == {"token": TOKEN}
    assert json.loads(server.requests[1][2])["spec"] == {
        "user": "system:serviceaccount:monitoring:prometheus",
        "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
        **more,
    }


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer  "},
        {"authorization": "Basic eDp5"},
    ],
)
async def test_without_a_token_nobody_is_asked(headers):
    async with wire() as (client, server):
        refusal = await Access(client).refusal(Request("GET", "/metrics", headers))
    assert refusal is not None
    assert refusal.status == 401
    assert ("WWW-Authenticate", "Bearer") in refusal.headers
    assert server.requests == []


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([reply("201 Created", {"status": {"authenticated": False}})], 401),
        ([reply("201 Created", {"status": {"authenticated": True, "user": {}}})], 401),
        ([reply("201 Created", {})], 401),
        ([reply("201 Created", {"status": {"authenticated": "true", "user": {"username": "x"}}})], 401),
        ([known(), access(False)], 403),
        ([known(), access(True, denied=True)], 403),
        ([known(), reply("201 Created", {})], 403),
        ([known(), failure(403, "subjectaccessreviews is forbidden")], 503),
        ([failure(500, "boom")], 503),
    ],
)
async def test_whatever_is_not_a_clear_yes_is_a_no(answers, status):
    async with wire(*answers) as (client, _):
        refusal = await Access(client).refusal(bearer())
    assert refusal is not None
    assert refusal.status == status
    assert TOKEN.encode() not in refusal.body


async def test_an_outage_of_the_api_server_does_not_blind_who_was_allowed():
    clock = Clock()
    down = [failure(503, "down")] * 4
    async with wire(known(), access(True), *down) as (client, _):
        checks = Access(client, clock=clock)
        assert await verdict(checks, bearer()) == 200
        clock.now = 300
        assert await verdict(checks, bearer()) == 200
        assert await verdict(checks, bearer("stranger")) == 503
        clock.now = 700
        assert await verdict(checks, bearer()) == 503


async def test_a_crowd_of_strangers_fills_neither_memory_nor_api_server():
    asked_at_once = []

    class Slow:
        now = 0

        async def review(self, _kind, _spec):
            self.now += 1
            asked_at_once.append(self.now)
            await anyio.sleep(0.001)
            self.now -= 1
            return {}

    checks = Access(cast("Any", Slow()))
    async with anyio.create_task_group() as group:
        for number in range(600):
            group.start_soon(checks.refusal, bearer(str(number)))
    assert max(asked_at_once) <= 4
    assert len(checks._verdicts) <= 256


async def test_the_token_is_nowhere_kept():
    async with wire(known(), access(True)) as (client, _):
        checks = Access(client)
        await checks.refusal(bearer())
    assert TOKEN not in repr(vars(checks))
