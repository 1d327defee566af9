"""Configuration files of what runs on a node."""

import json
from pathlib import Path

from tests.cluster.addresses import Addresses
from tests.cluster.certs import KeyPair

from .images import PAUSE


def containerd_config(folder: Path) -> Path:
    text = f"""
version = 3
root = "{folder}/containerd"
state = "/run/containerd-state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp"]

[grpc]
address = "{socket(folder)}"

[ttrpc]
address = "{folder}/t.sock"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE}"

[plugins."io.containerd.cri.v1.runtime"]
# Without CAP_SYS_RESOURCE the score cannot be lowered, and every sandbox would fail.
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "{folder}/cni"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
"""
    target = folder / "containerd.toml"
    target.write_text(text)
    return target


def socket(folder: Path) -> Path:
    return folder / "c.sock"


def cni_config(folder: Path, addresses: Addresses) -> None:
    """One routed link per pod.

    Not a bridge: an answer between two pods of one bridge would pass the rules of kube-proxy by unless
    the machine has br_netfilter.
    """
    network = {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "mtu": 1500,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": addresses.pods}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": "/run/cni-ipam",
                },
            }
        ],
    }
    (folder / "cni").mkdir()
    _write(folder / "cni" / "10-pods.conflist", network)


def kubelet_config(folder: Path, addresses: Addresses, *, ca: KeyPair, serving: KeyPair) -> Path:
    (folder / "resolv.conf").write_text("")
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": addresses.node,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(ca.cert)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(serving.cert),
        "tlsPrivateKeyFile": str(serving.key),
        "containerRuntimeEndpoint": f"unix://{socket(folder)}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{addresses.link_name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        "makeIPTablesUtilChains": False,
        "clusterDNS": [addresses.dns_service],
        "clusterDomain": "cluster.local",
        # Names of this machine's network are none of the pods' business.
        "resolvConf": str(folder / "resolv.conf"),
        "podCIDR": addresses.pods,
        "maxPods": 250,
        "registerWithTaints": [],
        "volumePluginDir": str(folder / "volume-plugins"),
        "evictionHard": {"memory.available": "64Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "shutdownGracePeriod": "0s",
        # A test waits for these; the defaults are for thousands of nodes.
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "5s",
        "volumeStatsAggPeriod": "10s",
        "configMapAndSecretChangeDetectionStrategy": "Watch",
        "kubeAPIQPS": 500,
        "kubeAPIBurst": 1000,
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
    }
    return _write(folder / "kubelet.json", config)


def kube_proxy_config(folder: Path, addresses: Addresses, *, kubeconfig: Path) -> Path:
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "hostnameOverride": addresses.link_name,
        "clusterCIDR": addresses.pods,
        "healthzBindAddress": f"{addresses.node}:10256",
        "metricsBindAddress": f"{addresses.node}:10249",
        # The limits of connection tracking belong to the machine and cannot be set from inside.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nftables": {"minSyncPeriod": "0.1s", "syncPeriod": "30s"},
    }
    return _write(folder / "kube-proxy.json", config)


def _write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content, indent=1))
    return path
