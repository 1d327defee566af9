"""What a running operator serves: probes for the kubelet, metrics for Prometheus."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import anyio

from redisop.access import Access
from redisop.client import Client
from redisop.health import Check, Health
from redisop.httpserver import Handler, HttpServer, Request, Response
from redisop.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where to serve: port 0 is not served, an empty `host` is every address. `tls` is for the metrics: (certificate, key)."""

    health: int = 0
    metrics: int = 0
    host: str = ""
    tls: tuple[Path, Path] | None = None


class Serving:
    """The servers of one operator. `open` them first: an address that cannot be had is an error before anything has begun."""

    def __init__(
        self,
        endpoints: Endpoints,
        client: Client,
        metrics: Metrics,
        live: Mapping[str, Check],
        ready: Mapping[str, Check],
    ) -> None:
        self._servers: list[HttpServer] = []
        if endpoints.health:
            self._servers.append(HttpServer(Health(live, ready).answer, endpoints.host, endpoints.health))
        if endpoints.metrics:
            answer = _scrape(Access(client), metrics)
            self._servers.append(HttpServer(answer, endpoints.host, endpoints.metrics, tls=endpoints.tls))

    async def open(self) -> None:
        """Take the addresses; InputError where one cannot be had."""
        for server in self._servers:
            await server.listen()

    async def run(self) -> None:
        """Serve for ever."""
        async with anyio.create_task_group() as group:
            for server in self._servers:
                group.start_soon(server.run)


def _scrape(access: Access, metrics: Metrics) -> Handler:
    async def answer(request: Request) -> Response:
        if request.path != "/metrics":
            return Response(HTTPStatus.NOT_FOUND, b"/metrics\n")
        refusal = await access.refusal(request)
        return refusal or Response(HTTPStatus.OK, metrics.text(), metrics.content_type)

    return answer
