"""A fast, thread-safe client of the test's own API server, which knows nothing of redisop's."""

import http.client
import json
import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class Server:
    """One connection per thread, kept open."""

    def __init__(self, control_plane: Any) -> None:
        self.host, self.port = control_plane.api._address
        self.tls = control_plane.api._tls
        self.local = threading.local()
        self.connections: list[http.client.HTTPSConnection] = []

    def request(self, method: str, path: str, body: Any = None, content_type: str = JSON, **query: Any) -> Answer:
        target = path + ("?" + urlencode(query) if query else "")
        data = None if body is None else json.dumps(body)
        for again in (True, False):
            connection = getattr(self.local, "connection", None)
            if connection is None:
                connection = http.client.HTTPSConnection(self.host, self.port, context=self.tls, timeout=30)
                self.local.connection = connection
                self.connections.append(connection)
            try:
                connection.request(method, target, data, {"Content-Type": content_type})
                response = connection.getresponse()
                text = response.read()
            except (http.client.HTTPException, OSError):
                connection.close()
                self.local.connection = None
                if not again:
                    raise
                continue
            return Answer(response.status, json.loads(text) if text else None)
        raise AssertionError("not reached")

    def close(self) -> None:
        """Close the connections of all threads."""
        for connection in self.connections:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def apply(self, path: str, body: Any, manager: str = "redisop", *, force: bool = True, **query: Any) -> Answer:
        return self.request("PATCH", path, body, APPLY_PATCH, fieldManager=manager, force=str(force).lower(), **query)
