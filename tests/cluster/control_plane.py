"""A control plane of its own: etcd, apiserver, controller-manager and scheduler. Needs no root."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .addresses import Addresses, Slot, free_ports
from .api import Api
from .audit import finished_requests
from .certs import Authority, KeyPair, signing_key
from .component import Component, ComponentError
from .flags import apiserver_flags, controller_manager_flags, etcd_flags, scheduler_config
from .gobuild import kubernetes_binary
from .kubeconfig import write_kubeconfig
from .kubectl import Kubectl
from .reaper import PREFIX
from .versions import resolve, selected_version

ADMINS = "system:masters"


class ControlPlane(Kubectl):
    """A running control plane; several can be up side by side.

    Whatever way this process ends, also by SIGKILL, a second process removes everything.

        with ControlPlane.start() as cluster:
            cluster.kubectl("get", "namespaces")
    """

    own_control_plane = True

    def __init__(self, version: str, data_dir: Path, slot: Slot) -> None:
        self.version = version
        self.data_dir = data_dir
        self.addresses: Addresses = slot.addresses
        self._slot = slot
        self._reaper = _start_reaper(data_dir)
        self._users = 0
        self.authority = Authority(data_dir / "pki")

    @classmethod
    def start(
        cls,
        version: str | None = None,
        *,
        audit: bool = False,
        controller_qps: int = 2000,
        apiserver_args: Sequence[str] = (),
        controller_manager_args: Sequence[str] = (),
        scheduler: bool = True,
    ) -> Self:
        """Start, and return when everything is ready: 3 to 6 seconds when the binary is built.

        Args:
            version: `1.37.2` or `1.37`; the default is `REDISOP_K8S_VERSION`, else the newest.
            audit: log every request at level Metadata to `audit_log`.
            controller_qps: what the controller-manager and the scheduler may ask for per second,
                far above Kubernetes' defaults so that they are not what a test waits for.
            apiserver_args, controller_manager_args: appended; the last one of a flag wins.
            scheduler: `False` leaves the scheduler out.

        Raises:
            ComponentError: something did not get ready; shows the tail of its log.
        """
        version = resolve(version) if version else selected_version()
        binary = kubernetes_binary(version)
        for attempt in range(3):
            cluster = cls._new(version)
            try:
                cluster._configure(
                    binary,
                    audit=audit,
                    qps=controller_qps,
                    apiserver_args=apiserver_args,
                    controller_manager_args=controller_manager_args,
                )
                cluster._bring_up(scheduler=scheduler)
            except BaseException as error:
                cluster.stop()
                # Somebody else took a port between our look at it and our use of it.
                if attempt < 2 and isinstance(error, ComponentError) and "address already in use" in str(error):
                    continue
                raise
            return cluster
        raise AssertionError("unreachable")

    @classmethod
    def _new(cls, version: str) -> Self:
        slot = Slot.take()
        try:
            data_dir = Path(tempfile.mkdtemp(prefix=PREFIX))
            slot.hold(data_dir)
            return cls(version, data_dir, slot)
        except BaseException:
            slot.release()
            raise

    def stop(self) -> None:
        """Kill everything and remove the data folder; there is nothing in it worth a goodbye."""
        for component in reversed(self.components):
            component.kill()
        assert self._reaper.stdin is not None
        self._reaper.stdin.close()
        try:
            self._reaper.wait(timeout=60)
        finally:
            self._slot.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def components(self) -> list[Component]:
        """What was set up so far, in the order of starting."""
        names = ("etcd", "apiserver", "controller_manager", "scheduler")
        return [getattr(self, name) for name in names if hasattr(self, name)]

    def log(self, component: str) -> str:
        """All that `etcd`, `kube-apiserver`, `kube-controller-manager`, … wrote so far."""
        return (self.data_dir / "logs" / f"{component}.log").read_text(errors="replace")

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig with a client certificate for `user`, who has no rights of its own."""
        self._users += 1
        name = f"user-{self._users}"
        pair = self.authority.issue(name, user, groups=groups)
        return self._kubeconfig(name, pair)

    def audit_events(self, **wanted: str) -> Iterator[dict[str, Any]]:
        """Finished requests of the audit log, oldest first.

        `wanted` compares `user`, `verb`, `resource`, `subresource`, `namespace` and `name`:
        `audit_events(user="system:admin", verb="patch", resource="statefulsets")`. A watch counts
        when it ends.
        """
        if self.audit_log is None:
            raise ValueError("started without audit=True")
        return finished_requests(self.audit_log, wanted)

    def wait_ready(self, timeout: float = 120.0) -> None:
        """Until the apiserver says that it is ready, for example after `apiserver.start()`."""
        self.apiserver.wait_for("/readyz", lambda: self.api.answers("/readyz"), timeout)

    def _configure(
        self,
        binary: Path,
        *,
        audit: bool,
        qps: int,
        apiserver_args: Sequence[str],
        controller_manager_args: Sequence[str],
    ) -> None:
        etcd_client, etcd_peer, api_port, manager_port, scheduler_port = free_ports(5)
        self.url = f"https://127.0.0.1:{api_port}"
        admin = self._issue("admin", "system:admin", groups=[ADMINS])
        self.api = Api(self.url, self.authority.pair.cert, admin)
        self.kubeconfig = self._kubeconfig("admin", admin)
        self.audit_log = self.data_dir / "audit.log" if audit else None
        self._ports = {"kube-controller-manager": manager_port, "kube-scheduler": scheduler_port}
        service_accounts = signing_key(self.authority.folder, "service-accounts")

        self.etcd = self._component(binary, "etcd", etcd_flags(self.data_dir, etcd_client, etcd_peer))
        serving_names = [
            "127.0.0.1",
            "localhost",
            self.addresses.host,
            self.addresses.api_service,
            "kubernetes.default.svc",
            "kubernetes.default",
            "kubernetes",
        ]
        flags = apiserver_flags(
            self.version,
            self.data_dir,
            self.addresses,
            port=api_port,
            etcd_port=etcd_client,
            ca=self.authority.pair,
            serving=self._issue("apiserver", "kube-apiserver", hosts=serving_names),
            kubelet_client=self._issue("kubelet-client", "kube-apiserver", groups=[ADMINS]),
            service_accounts=service_accounts,
            audit_log=self.audit_log,
        )
        self.apiserver = self._component(binary, "kube-apiserver", [*flags, *apiserver_args])
        manager = self._issue("controller-manager", "system:kube-controller-manager")
        self.controller_manager = self._component(
            binary,
            "kube-controller-manager",
            [
                *controller_manager_flags(
                    self.addresses,
                    port=manager_port,
                    qps=qps,
                    kubeconfig=self._kubeconfig("controller-manager", manager),
                    ca=self.authority.pair,
                    serving=self._issue("manager-serving", "manager", hosts=["127.0.0.1"]),
                    service_accounts=service_accounts,
                ),
                *controller_manager_args,
            ],
        )
        scheduler = self._issue("scheduler", "system:kube-scheduler")
        serving = self._issue("scheduler-serving", "scheduler", hosts=["127.0.0.1"])
        config = scheduler_config(self.data_dir, qps=qps, kubeconfig=self._kubeconfig("scheduler", scheduler))
        self.scheduler = self._component(
            binary,
            "kube-scheduler",
            [
                f"--config={config}",
                "--bind-address=127.0.0.1",
                f"--secure-port={scheduler_port}",
                f"--tls-cert-file={serving.cert}",
                f"--tls-private-key-file={serving.key}",
            ],
        )

    def _bring_up(self, *, scheduler: bool) -> None:
        self.etcd.start()
        self.apiserver.start()
        self.wait_ready()
        followers = [self.controller_manager, *([self.scheduler] if scheduler else [])]
        for follower in followers:
            follower.start()
        for follower in followers:
            self._wait_healthy(follower)
        # Without it the first pod of a test is refused.
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self.controller_manager.wait_for("the default ServiceAccount", lambda: self.api.answers(account))

    def _wait_healthy(self, follower: Component) -> None:
        pki = self.authority.folder
        url = f"https://127.0.0.1:{self._ports[follower.name]}"
        health = Api(url, self.authority.pair.cert, KeyPair(pki / "admin.crt", pki / "admin.key"))
        follower.wait_for("/healthz", lambda: health.answers("/healthz"))

    def _component(self, binary: Path, name: str, flags: Sequence[str]) -> Component:
        return Component(name, [binary, name, *flags], self.data_dir)

    def _issue(self, name: str, user: str, *, groups: Sequence[str] = (), hosts: Sequence[str] = ()) -> KeyPair:
        return self.authority.issue(name, user, groups=groups, hosts=hosts)

    def _kubeconfig(self, name: str, client: KeyPair) -> Path:
        target = self.data_dir / f"{name}.kubeconfig"
        return write_kubeconfig(target, self.url, self.authority.pair.cert, client)


def _start_reaper(data_dir: Path) -> subprocess.Popen[bytes]:
    script = Path(__file__).with_name("reaper.py")
    with (data_dir / "reaper.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(script), str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
