"""The API server over HTTP, with Kubernetes objects as plain dicts and every failure as one of `redisop.errors`.

lightkube supplies TLS and authentication (certificates, tokens, rotated service account tokens, exec plugins); the requests are our own,
because its watch splits lines where Unicode does and its apply sends raw UTF-8 as YAML, has no preconditions and no field validation.
No text of an error holds a request body, a credential, or what the server says about the content of a Secret.
"""

import json
import os
import random
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import anyio
import httpx2
import lightkube
import msgspec
from lightkube.config.client_adapter import ConnectionParams
from lightkube.config.models import User

from redisop import __version__, kubeconfig
from redisop.errors import (
    ApiError,
    Cause,
    Conflict,
    ConnectionFailed,
    Gone,
    InputError,
    NotFound,
    RedisopError,
    quotes_nothing,
)
from redisop.kinds import GROUP, MANAGER, SECRET, Kind, Object, Ref, kind_of, ref_of

PAGE = 500
TIMEOUT = httpx2.Timeout(30, connect=5)
LIMITS = httpx2.Limits(max_keepalive_connections=64, keepalive_expiry=60)
WATCH_SECONDS = (25.0, 35.0)
WATCH_GRACE = 4.0
"""Seconds that a watch may outlive the end it asked for; then its connection is taken for dead."""

INSTALL_CRDS = "install the CRDs: redisop gen-crds -o - | kubectl apply --server-side -f -"

_AMBIGUOUS = re.compile("[\x7f-\uffff]")
_TYPED_PATCH = "failed to create typed patch object"


class Page(NamedTuple):
    """A whole collection as of one resource version."""

    items: list[Object]
    resource_version: str


class Event(NamedTuple):
    """One event of a watch: `type` is ADDED, MODIFIED, DELETED or BOOKMARK."""

    type: str
    object: Object


class Client:
    """Requests to one API server; an async context manager that owns the connections."""

    def __init__(
        self,
        http: httpx2.AsyncClient,
        *,
        namespace: str = "default",
        fence: Callable[[], None] = lambda: None,
        timeout: httpx2.Timeout | None = None,
    ) -> None:
        self._http = http
        self._fence = fence
        self._timeout = timeout or http.timeout
        self.namespace = namespace
        """The namespace of the kubeconfig's context, or of the Pod we run in."""
        self.answered: Callable[[str, str, str], None] = lambda _method, _code, _host: None
        """Told of every answer: method, status code («<error>» where there was none) and host, for metrics."""

    @classmethod
    def connect(cls, path: Path | None = None, context: str | None = None) -> Self:
        """Return a client for the cluster that --kubeconfig, KUBECONFIG, the Pod or ~/.kube/config name, in this order.

        Nothing is sent yet. Raises InputError where the configuration is missing, broken or not supported.
        """
        files = kubeconfig.find(path, os.environ)
        where = ", ".join(map(str, files)) or "service account"
        problem = ""
        try:
            if files:
                config = lightkube.KubeConfig.from_dict(kubeconfig.load(files, context), fname=files[0]).get()
            else:
                config = lightkube.KubeConfig.from_service_account(kubeconfig.SERVICE_ACCOUNT).get()
            if config is None or config.cluster.server == "":
                raise InputError("the cluster has no server", where=where)
            config = config._replace(user=config.user or User())
            settings = ConnectionParams(timeout=TIMEOUT).httpx_params(config)
            headers = {
                "User-Agent": f"{MANAGER}/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            }
            return cls(httpx2.AsyncClient(**settings, limits=LIMITS, headers=headers), namespace=config.namespace)
        except RedisopError:
            raise
        except (lightkube.ConfigError, msgspec.ValidationError, OSError, httpx2.InvalidURL) as error:
            problem = str(error)
        except ValueError:
            # The text of a decoding error quotes what it could not decode, which may be a key.
            problem = "a certificate or key in it is not valid base64"
        raise InputError(problem, where=where)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._http.aclose()

    def fenced(self, fence: Callable[[], None]) -> Self:
        """Return a client on the same connections that calls `fence` before each write, which may raise."""
        return self._with(fence, self._timeout)

    def within(self, seconds: float) -> Self:
        """Return a client on the same connections that gives each step of a request (connect, send, receive) so much time.

        Cancelling a request instead leaves a connection that is still being secured to the garbage collector.
        """
        return self._with(self._fence, httpx2.Timeout(seconds))

    def _with(self, fence: Callable[[], None], timeout: httpx2.Timeout) -> Self:
        other = type(self)(self._http, namespace=self.namespace, fence=fence, timeout=timeout)
        other.answered = self.answered
        return other

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return one object; NotFound where there is none."""
        return await self._request("GET", kind, kind.path(namespace, name))

    async def list(self, kind: Kind, namespace: str | None = None, *, selector: str = "", limit: int = PAGE) -> Page:
        """Return all objects of `kind` (in all namespaces where it is None) that match the label `selector`, page by page."""
        items: list[Object] = []
        params = {"limit": str(limit)}
        if selector:
            params["labelSelector"] = selector
        while True:
            try:
                page = await self._request("GET", kind, kind.path(namespace), params)
            except Gone:
                if "continue" not in params:
                    raise
                # The snapshot was compacted while we read its pages: a single large answer cannot be.
                items.clear()
                params = {"labelSelector": selector} if selector else {}
                continue
            for item in page.get("items") or ():
                item.setdefault("apiVersion", kind.api_version)
                item.setdefault("kind", kind.name)
                items.append(item)
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return Page(items, metadata.get("resourceVersion", ""))
            params["continue"] = metadata["continue"]

    @asynccontextmanager
    async def watch(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        selector: str = "",
        fields: str = "",
        resource_version: str,
        timeout_seconds: float | None = None,
    ) -> AsyncGenerator[AsyncIterator[Event]]:
        """Open a stream of what happens after `resource_version`; the server ends it after `timeout_seconds` (25 to 35).

        `selector` is one of labels, `fields` one of fields, as in `metadata.name=demo`.

        Opening raises what any request does; reading raises Gone where the version turns out to be too old, and ConnectionFailed
        where the stream breaks or is silent beyond its end.
        """
        # Spread, so that the watches of all kinds are not renewed in the same second.
        seconds = timeout_seconds or random.uniform(*WATCH_SECONDS)  # noqa: S311 - not for secrecy
        deadline = time.monotonic() + seconds + WATCH_GRACE
        params = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(max(1, round(seconds))),
        }
        if selector:
            params["labelSelector"] = selector
        if fields:
            params["fieldSelector"] = fields
        timeout = httpx2.Timeout(seconds + WATCH_GRACE, connect=TIMEOUT.connect)
        request = self._http.build_request("GET", kind.path(namespace), params=params, timeout=timeout)
        response = await self._send(request, kind, stream=True)
        try:
            yield _events(response.aiter_raw(), kind, deadline)
        finally:
            await response.aclose()

    async def apply(self, obj: Mapping[str, Any], *, subresource: str | None = None, dry_run: bool = False) -> Object:
        """Server-side apply `obj` as the manager `redisop`, forced and strictly validated; return the object as it is now.

        Preconditions stand in its metadata: `resourceVersion: "1"` to create only, uid and resourceVersion to change only what was seen.
        """
        ref = ref_of(obj)
        kind = kind_of(ref)
        params = _writing(dry_run=dry_run) | {"force": "true"}
        path = kind.path(ref.namespace, ref.name, subresource)
        return await self._request("PATCH", kind, path, params, obj, "application/apply-patch+yaml")

    async def create(self, obj: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        """Create an object (POST); Conflict where its name is taken."""
        ref = ref_of(obj)
        kind = kind_of(ref)
        return await self._request("POST", kind, kind.path(ref.namespace), _writing(dry_run=dry_run), obj)

    async def update(self, obj: Mapping[str, Any], *, subresource: str | None = None, dry_run: bool = False) -> Object:
        """Replace an object (PUT); its metadata.resourceVersion is the precondition."""
        ref = ref_of(obj)
        kind = kind_of(ref)
        path = kind.path(ref.namespace, ref.name, subresource)
        return await self._request("PUT", kind, path, _writing(dry_run=dry_run), obj)

    async def delete(self, ref: Ref, *, uid: str, resource_version: str, propagation: str | None = None) -> Object:
        """Delete exactly the object that was seen; return it where it is yet to be finalized, else a Status.

        `propagation` is Background, Foreground or Orphan.
        """
        kind = kind_of(ref)
        options: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid, "resourceVersion": resource_version},
        }
        if propagation is not None:
            options["propagationPolicy"] = propagation
        return await self._request("DELETE", kind, kind.path(ref.namespace, ref.name), body=options)

    async def ready(self) -> bool:
        """Tell whether the API server answers that it is ready; waits two seconds at most."""
        try:
            return (await self._http.get("/readyz", timeout=2)).is_success
        except (httpx2.HTTPError, lightkube.ConfigError, OSError, KeyError, ValueError):
            return False

    async def review(self, kind: Kind, spec: Mapping[str, Any]) -> Object:
        """Ask the API server a question (TokenReview, SubjectAccessReview); return the `status` that answers it."""
        body = {"apiVersion": kind.api_version, "kind": kind.name, "spec": spec}
        answer = await self._request("POST", kind, kind.path(), body=body)
        status = answer.get("status")
        return status if isinstance(status, dict) else {}

    async def _request(
        self,
        method: str,
        kind: Kind,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        content = headers = None
        if method != "GET":
            self._fence()
        if body is not None:
            content = _encoded(body)
            headers = {"Content-Type": content_type}
        request = self._http.build_request(
            method, path, params=params, content=content, headers=headers, timeout=self._timeout
        )
        return _object((await self._send(request, kind)).content)

    async def _send(self, request: httpx2.Request, kind: Kind, *, stream: bool = False) -> httpx2.Response:
        problem = ""
        try:
            response = await self._http.send(request, stream=stream)
            if not response.is_success:
                await response.aread()
        except (httpx2.HTTPError, httpx2.StreamError, lightkube.ConfigError, OSError) as error:
            problem = _reason(error)
        except (KeyError, ValueError):
            problem = "the exec plugin of the kubeconfig gave no token"
        self.answered(request.method, "<error>" if problem else str(response.status_code), request.url.netloc.decode())
        if problem:
            # Raised outside the handler: the original holds the request, and with it the body.
            raise ConnectionFailed(f"{request.method} {kind.plural}: {problem}")
        if not response.is_success:
            raise _error(response, kind)
        return response


def _encoded(body: Mapping[str, Any]) -> bytes:
    """Return JSON that means the same when it is read as YAML, as the server does with an apply.

    U+0085 and its like are line breaks to YAML, so they are escaped; what is beyond U+FFFF is not, because JSON would escape it by
    two surrogates, which YAML refuses.
    """
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _AMBIGUOUS.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


async def _events(chunks: AsyncIterator[bytes], kind: Kind, deadline: float) -> AsyncIterator[Event]:
    pending = b""
    while chunk := await _next(chunks, deadline):
        # Bytes, and at line feeds only: JSON text may hold U+0085 and U+2028, which are line breaks to Unicode.
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield _event(line, kind)


def _writing(*, dry_run: bool) -> dict[str, str]:
    return {"fieldManager": MANAGER, "fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})


async def _next(chunks: AsyncIterator[bytes], deadline: float) -> bytes:
    problem = ""
    try:
        with anyio.fail_after(max(0.0, deadline - time.monotonic())):
            return await anext(chunks, b"")
    except TimeoutError:
        problem = "the stream fell silent"
    except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
        problem = _reason(error)
    raise ConnectionFailed(f"watch: {problem}")


def _event(line: bytes, kind: Kind) -> Event:
    event = _object(line)
    obj = event.get("object")
    if not isinstance(obj, dict) or not isinstance(event.get("type"), str):
        raise ConnectionFailed("watch: not a watch event")
    if event["type"] == "ERROR":
        raise _of_status(obj, kind, code=int(obj.get("code") or 500))
    return Event(event["type"], obj)


def _object(content: bytes) -> Object:
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        document = None
    if not isinstance(document, dict):
        raise ConnectionFailed("the answer is not a JSON object")
    return document


def _reason(error: Exception) -> str:
    # h11 quotes the header it refuses, which may be the one that holds the token.
    if isinstance(error, httpx2.LocalProtocolError):
        return "the request is not valid HTTP (a token with a line break?)"
    return f"{type(error).__name__} {error}".strip()


def _error(response: httpx2.Response, kind: Kind) -> ApiError:
    try:
        status = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        said = f"{response.status_code} {response.reason_phrase}"
        if response.status_code == 404 and kind.api_version.startswith(GROUP):
            said = f"the cluster does not know them; {INSTALL_CRDS}"
        status = {"message": f"{response.request.method} {kind.plural}: {said}"}
    return _of_status(status, kind, code=response.status_code, retry_after=response.headers.get("Retry-After", ""))


def _of_status(status: Object, kind: Kind, *, code: int, retry_after: str = "") -> ApiError:
    details = status.get("details") or {}
    message = str(status.get("message") or f"error {code}")
    causes = [
        Cause(cause.get("reason", ""), cause.get("field", ""), cause.get("message", ""))
        for cause in details.get("causes") or ()
    ]
    reason = str(status.get("reason") or "")
    if kind == SECRET and not quotes_nothing(message):
        # A validation message quotes the value it refuses.
        causes = [replace(cause, message="") for cause in causes]
        prefix = f"{_TYPED_PATCH}: " if _TYPED_PATCH in message else ""
        fields = ", ".join(cause.field for cause in causes if cause.field)
        named = " ".join(filter(None, ("Secret", details.get("name"))))
        message = f"{prefix}{named} was refused: {reason or code} {fields}".strip()
    seconds = retry_after if retry_after.isdecimal() else details.get("retryAfterSeconds")
    error = {404: NotFound, 409: Conflict, 410: Gone}.get(code, ApiError)
    return error(message, code=code, reason=reason, causes=causes, retry_after=float(seconds) if seconds else None)
