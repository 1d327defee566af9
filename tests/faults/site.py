"""Where plans run: one control plane with our CRDs, a fake kubelet, and an administrator's eyes."""

import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from redisop.client import Client
from redisop.kinds import Object
from tests.cluster import ControlPlane
from tests.cluster.kubeconfig import write_kubeconfig
from tests.controlplane import operator_process
from tests.converged import install
from tests.faults.proxy import Proxy

USER = "redisop-under-test"


class Site:
    """What all plans share; `client` acts as administrator once `open` was called in the event loop."""

    def __init__(self, cluster: ControlPlane, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.names = 0
        authority = cluster.authority
        self.operator = authority.issue("fault-operator", USER, groups=["system:masters"])
        served = authority.issue("fault-proxy", "fault-proxy", hosts=["127.0.0.1"])
        self._serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._serving.load_cert_chain(served.cert, served.key)
        upstream = ssl.create_default_context(cafile=str(authority.pair.cert))
        upstream.load_cert_chain(self.operator.cert, self.operator.key)
        url = urlsplit(cluster.url)
        self._upstream = (str(url.hostname), int(url.port or 443), upstream)
        self.client: Client

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Have `client` in this event loop."""
        async with Client.connect(self.cluster.kubeconfig) as self.client:
            yield

    async def proxy(self, replica: str) -> Proxy:
        proxy = Proxy(replica, self._serving, self._upstream)
        await proxy.start()
        return proxy

    def kubeconfig(self, proxy: Proxy) -> Path:
        self.names += 1
        target = self.folder / f"proxy-{self.names}.kubeconfig"
        return write_kubeconfig(target, proxy.url, self.cluster.authority.pair.cert, self.operator)

    async def send(
        self, method: str, path: str, body: Object | None = None, patch: str = "merge-patch", manager: str = "intruder"
    ) -> tuple[int, Object]:
        """Do what somebody else might do; return (code, answer)."""
        kind = f"application/{patch}+json" if method == "PATCH" else "application/json"
        response = await self.client._http.request(
            method,
            path,
            params={"fieldManager": manager} if method in {"PATCH", "POST", "PUT"} else None,
            content=None if body is None else json.dumps(body),
            headers={"Content-Type": kind},
        )
        return response.status_code, response.json()

    async def namespace(self, name: str) -> None:
        """Make a namespace; nobody waits for its deletion."""
        code, answer = await self.send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        assert code == 201, answer

    async def discard(self, name: str) -> None:
        await self.send("DELETE", f"/api/v1/namespaces/{name}")


@contextmanager
def site(cluster: ControlPlane | None = None) -> Iterator[Site]:
    """Set everything up on `cluster`, or on a control plane of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="redisop-faults-")))
        cluster = cluster or stack.enter_context(ControlPlane.start())
        install(cluster)
        cluster.apply(
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {"name": "growing"},
                "provisioner": "example.com/fake",
                "allowVolumeExpansion": True,
            }
        )
        log = folder / "kubelet.log"
        stack.enter_context(operator_process.fake_kubelet(cluster.kubeconfig, log))
        yield Site(cluster, folder)
