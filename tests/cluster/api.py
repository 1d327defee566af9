"""Plain requests to an apiserver with a client certificate, for the cluster's own use."""

import http.client
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .certs import KeyPair


class ApiError(RuntimeError):
    def __init__(self, method: str, path: str, status: int, body: str) -> None:
        super().__init__(f"{method} {path}: {status} {body[:400]}")
        self.status = status


class Api:
    def __init__(self, url: str, ca: Path, client: KeyPair) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self._address = (parts.hostname, parts.port)
        self._tls = ssl.create_default_context(cafile=str(ca))
        self._tls.load_cert_chain(client.cert, client.key)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        timeout: float = 10.0,
    ) -> str:
        """The body of the answer.

        Raises:
            ApiError: the status is not 2xx.
            OSError, http.client.HTTPException: nobody answers.
        """
        host, port = self._address
        connection = http.client.HTTPSConnection(host, port, context=self._tls, timeout=timeout)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": content_type})
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if not 200 <= response.status < 300:
            raise ApiError(method, path, response.status, text)
        return text

    def get(self, path: str) -> Any:
        return json.loads(self.request("GET", path))

    def patch(self, path: str, body: Any) -> Any:
        """Merge patch."""
        return json.loads(self.request("PATCH", path, body, content_type="application/merge-patch+json"))

    def answers(self, path: str) -> bool:
        """Whether a GET succeeds now."""
        try:
            self.request("GET", path, timeout=3.0)
        except (ApiError, OSError, http.client.HTTPException):
            return False
        return True
