"""A node that runs real pods. Needs root."""

import contextlib
import http.client
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.cluster.api import ApiError
from tests.cluster.component import Component
from tests.cluster.control_plane import ADMINS, ControlPlane
from tests.cluster.gobuild import go_install, kubernetes_binary
from tests.cluster.kubeconfig import write_kubeconfig
from tests.cluster.reaper import remove_cgroups, remove_network

from .config import cni_config, containerd_config, kube_proxy_config, kubelet_config, socket
from .debian import redis_image
from .dns import dns_objects
from .host import PACKAGES, install, why_no_node
from .images import coredns_image, pause_image
from .network import connect
from .sandbox import Inside, Sandbox
from .storage import FIXED_CLASS, STORAGE_CLASS

_CONTAINERD = "github.com/containerd/containerd/v2/cmd/"
_REPOSITORY = Path(__file__).parents[3]


class NoNode(RuntimeError):
    """This machine cannot run a node; the message says what is missing."""


class Node:
    """containerd, kubelet, kube-proxy, DNS and volumes, in namespaces of their own.

    Pods and Services can be reached from this machine by their addresses.

        with ControlPlane.start() as cluster, Node.start(cluster) as node:
            node.import_image(redis_image.archive())
    """

    def __init__(self, cluster: ControlPlane) -> None:
        self.cluster = cluster
        self.name = cluster.addresses.link_name
        self.folder = cluster.data_dir / "node"
        self._tools = _containerd_tools()
        self._sandbox = Sandbox(cluster.data_dir, self.folder)

    @classmethod
    def start(cls, cluster: ControlPlane, *, images: Sequence[Path] | None = None) -> Self:
        """Start, and return when the node and its DNS are ready: about 10 seconds when all is built.

        Args:
            cluster: must outlive the node.
            images: OCI archives to import; the default is the Redis image.

        Raises:
            NoNode: not root, or not possible on this machine.
        """
        if reason := why_no_node():
            raise NoNode(reason)
        install(PACKAGES)
        archives = [pause_image(), coredns_image(), *(images if images is not None else [redis_image.archive()])]
        node = cls(cluster)
        try:
            node._bring_up(archives)
        except BaseException:
            node.stop()
            raise
        return node

    def stop(self) -> None:
        """End everything on the node, pods first in effect: their namespaces end with it."""
        self._sandbox.stop()
        for name in ("storage", "kube_proxy", "kubelet", "containerd"):
            if component := getattr(self, name, None):
                component.kill()
        remove_cgroups(self.name)
        remove_network(self.name)
        with contextlib.suppress(ApiError, OSError, http.client.HTTPException):
            # The control plane may go on; it should not keep pods on a node that is gone.
            self.cluster.api.request("DELETE", f"/api/v1/nodes/{self.name}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def import_image(self, archive: Path) -> None:
        """Make the image of an OCI or Docker archive known under the name that it carries."""
        import_archive(self.cluster.data_dir, archive)

    def _bring_up(self, archives: Sequence[Path]) -> None:
        cluster = self.cluster
        self.folder.mkdir()
        # From here on the reaper knows what to remove.
        (cluster.data_dir / "node-name").write_text(self.name)
        make_cgroup(self.name)
        init_pid = self._sandbox.start()
        port = urlsplit(cluster.url).port
        assert port is not None
        connect(cluster.addresses, init_pid, port)
        self._configure(init_pid, f"https://{cluster.addresses.host}:{port}")
        self.containerd.start()
        self.containerd.wait_for("its socket", self._containerd_answers)
        with ThreadPoolExecutor(max_workers=2) as pool:
            imports = [pool.submit(self.import_image, archive) for archive in archives]
            self.kubelet.start()
            self.kube_proxy.start()
            cluster.apply(STORAGE_CLASS, FIXED_CLASS, *dns_objects(cluster.addresses))
            self.storage.start()
            for done in imports:
                done.result()
        self.kubelet.wait_for("the node is Ready", self._ready)
        cluster.kubectl("rollout", "status", "deployment/coredns", "-n", "kube-system", "--timeout=110s")

    def _configure(self, init_pid: int, url: str) -> None:
        cluster, folder, ca = self.cluster, self.folder, self.cluster.authority
        binary = kubernetes_binary(cluster.version)
        path = {"PATH": f"{self._tools}:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"}

        def kubeconfig(name: str, user: str, groups: Sequence[str] = ()) -> Path:
            pair = ca.issue(name, user, groups=groups)
            return write_kubeconfig(folder / f"{name}.kubeconfig", url, ca.pair.cert, pair)

        def inside(name: str, *argv: str | Path) -> Inside:
            return Inside(name, argv, cluster.data_dir, init_pid=init_pid, env=path)

        cni_config(folder, cluster.addresses)
        config = containerd_config(folder)
        self.containerd = inside("containerd", self._tools / "containerd", "--config", config)
        serving = ca.issue("kubelet-serving", self.name, hosts=[cluster.addresses.node, self.name])
        config = kubelet_config(folder, cluster.addresses, ca=ca.pair, serving=serving)
        self.kubelet = inside(
            "kubelet",
            binary,
            "kubelet",
            f"--config={config}",
            f"--kubeconfig={kubeconfig('kubelet', f'system:node:{self.name}', ['system:nodes'])}",
            f"--hostname-override={self.name}",
            f"--node-ip={cluster.addresses.node}",
            f"--root-dir={folder / 'kubelet'}",
        )
        proxy = kube_proxy_config(folder, cluster.addresses, kubeconfig=kubeconfig("proxy", "system:kube-proxy"))
        self.kube_proxy = inside("kube-proxy", binary, "kube-proxy", f"--config={proxy}")
        admin = ca.issue("storage", "storage-stand-in", groups=[ADMINS])
        self.storage = Component(
            "storage",
            [
                sys.executable,
                "-m",
                "tests.cluster.node.storage",
                f"--url={cluster.url}",
                f"--ca={ca.pair.cert}",
                f"--cert={admin.cert}",
                f"--key={admin.key}",
                f"--folder={folder / 'volumes'}",
            ],
            cluster.data_dir,
            env={"PYTHONPATH": str(_REPOSITORY)},
        )

    def _containerd_answers(self) -> bool:
        return _ctr(self.cluster.data_dir, "version").returncode == 0

    def _ready(self) -> bool:
        try:
            node = self.cluster.api.get(f"/api/v1/nodes/{self.name}")
        except ApiError:
            return False
        return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", []))


def import_archive(data_dir: Path, archive: Path) -> None:
    """The same as `Node.import_image`, for the node of a cluster that another process owns."""
    answer = _ctr(data_dir, "images", "import", "--local", str(archive))
    if answer.returncode:
        raise RuntimeError(f"import of {archive}: {answer.stderr.strip()}")


def _ctr(data_dir: Path, *args: str) -> subprocess.CompletedProcess[str]:
    argv = [str(_containerd_tools() / "ctr"), "-a", str(socket(data_dir / "node")), "-n", "k8s.io", *args]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def make_cgroup(name: str) -> None:
    """The cgroup that all pods of the node are in, for cgroup v1 and v2."""
    base = Path("/sys/fs/cgroup")
    if (base / "cgroup.controllers").exists():
        # What the kubelet insists on; a cgroup has what its parent passes on.
        for wanted in ("cpu", "cpuset", "hugetlb", "memory", "pids"):
            with contextlib.suppress(OSError):
                (base / "cgroup.subtree_control").write_text(f"+{wanted}")
        (base / name).mkdir(exist_ok=True)
        return
    for controller in base.iterdir():
        if not controller.is_dir() or controller.is_symlink() or not (controller / "cgroup.procs").exists():
            continue
        folder = controller / name
        folder.mkdir(exist_ok=True)
        # Empty in a new cpuset, and then nothing can run in it.
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (folder / setting).exists():
                (folder / setting).write_text((controller / setting).read_text())


def build_everything(version: str) -> None:
    """All that a node needs, so that starting one takes seconds."""
    if reason := why_no_node():
        raise NoNode(reason)
    install(PACKAGES)
    kubernetes_binary(version)
    _containerd_tools()
    pause_image()
    coredns_image()
    redis_image.archive()


def _containerd_tools() -> Path:
    programs = [_CONTAINERD + name for name in ("containerd", "containerd-shim-runc-v2", "ctr")]
    return go_install(programs, "v2.4.2", tags="no_btrfs no_zfs no_devmapper")
