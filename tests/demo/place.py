"""Where the demo happens: a cluster of its own, or the user's."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import ControlPlane, ExistingCluster
from tests.cluster.node import REDIS, Node
from tests.demo.terminal import Terminal


@dataclass(frozen=True)
class Place:
    """`pods`: whether Pods really run here. `settings`: the operator's, where the place needs other than the default."""

    cluster: ControlPlane | ExistingCluster
    pods: bool
    settings: Mapping[str, str] = field(default_factory=dict)


def own_cluster(terminal: Terminal, stack: ExitStack, *, node: bool) -> Place:
    terminal.heading("0", "A real Kubernetes, without Docker")
    terminal.say("etcd, apiserver, controller-manager and scheduler, built once from their Go modules and then cached.")
    cluster = stack.enter_context(ControlPlane.start())
    terminal.say(f"Kubernetes {cluster.version} is ready.")
    if not node:
        terminal.say(
            "Not root, or --no-node: no kubelet, so no Pods. Everything else is shown; steps that need a Pod say so."
        )
        return Place(cluster, pods=False)
    terminal.say("containerd, kubelet, kube-proxy, CoreDNS and a Redis image: also built once and cached.")
    stack.enter_context(Node.start(cluster))
    repository, _, version = REDIS.rpartition(":")
    terminal.say(f"The node is ready; its Redis is Debian's, as {REDIS}.")
    settings = {"REDISOP_IMAGE_REPOSITORY": repository, "REDISOP_DEFAULT_VERSION": version}
    return Place(cluster, pods=True, settings=settings)


def their_cluster(terminal: Terminal, kubeconfig: Path) -> Place:
    terminal.heading("0", f"Your cluster, from {kubeconfig}")
    cluster = ExistingCluster(kubeconfig)
    terminal.say(
        f"Kubernetes {cluster.version} at {cluster.url}. The demo stays in a namespace of its own and removes it at the end."
    )
    pods = bool(cluster.get("nodes")["items"])
    if not pods:
        terminal.say("It has no nodes, so no Pods. Everything else is shown; steps that need a Pod say so.")
    return Place(cluster, pods=pods)
