"""Command lines and configuration files of the control plane's components."""

import json
from pathlib import Path

from .addresses import Addresses
from .certs import KeyPair
from .versions import minor


def etcd_flags(data_dir: Path, client_port: int, peer_port: int) -> list[str]:
    client, peer = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    return [
        f"--data-dir={data_dir / 'etcd'}",
        "--name=test",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=test={peer}",
        # The data does not outlive the machine's power anyway, and fsync is most of a write.
        "--unsafe-no-fsync",
        f"--quota-backend-bytes={8 * 2**30}",
        "--log-level=warn",
    ]


def apiserver_flags(
    version: str,
    data_dir: Path,
    addresses: Addresses,
    *,
    port: int,
    etcd_port: int,
    ca: KeyPair,
    serving: KeyPair,
    kubelet_client: KeyPair,
    service_accounts: KeyPair,
    audit_log: Path | None,
) -> list[str]:
    flags = [
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        # Loopback is refused here; a node makes this address lead to the port above.
        f"--advertise-address={addresses.host}",
        f"--service-cluster-ip-range={addresses.services}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--client-ca-file={ca.cert}",
        f"--tls-cert-file={serving.cert}",
        f"--tls-private-key-file={serving.key}",
        f"--kubelet-certificate-authority={ca.cert}",
        f"--kubelet-client-certificate={kubelet_client.cert}",
        f"--kubelet-client-key={kubelet_client.key}",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={service_accounts.cert}",
        f"--service-account-signing-key-file={service_accounts.key}",
        "--allow-privileged=true",
        *_mutating_admission_policy(version),
    ]
    if audit_log is not None:
        policy = {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata"}],
        }
        flags += [
            f"--audit-policy-file={_write(data_dir / 'audit-policy.json', policy)}",
            f"--audit-log-path={audit_log}",
            # Written before the answer is sent, so a test that got its answer finds it there.
            "--audit-log-mode=blocking-strict",
            "--audit-log-maxsize=10000",
        ]
    return flags


def controller_manager_flags(
    addresses: Addresses,
    *,
    port: int,
    qps: int,
    kubeconfig: Path,
    ca: KeyPair,
    serving: KeyPair,
    service_accounts: KeyPair,
) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={serving.cert}",
        f"--tls-private-key-file={serving.key}",
        f"--root-ca-file={ca.cert}",
        f"--client-ca-file={ca.cert}",
        f"--cluster-signing-cert-file={ca.cert}",
        f"--cluster-signing-key-file={ca.key}",
        f"--service-account-private-key-file={service_accounts.key}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        f"--cluster-cidr={addresses.pods}",
        f"--kube-api-qps={qps}",
        f"--kube-api-burst={2 * qps}",
        "--concurrent-statefulset-syncs=20",
        "--concurrent-gc-syncs=40",
        "--concurrent-namespace-syncs=20",
    ]


def scheduler_config(data_dir: Path, *, qps: int, kubeconfig: Path) -> Path:
    config = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        "clientConnection": {"kubeconfig": str(kubeconfig), "qps": qps, "burst": 2 * qps},
    }
    return _write(data_dir / "scheduler.json", config)


def _mutating_admission_policy(version: str) -> list[str]:
    """On by default from 1.36 (KEP-3962); before that alpha (1.32) or beta (1.34) and off."""
    if minor(version) >= 36:
        return []
    stage = "v1beta1" if minor(version) >= 34 else "v1alpha1"
    return [
        "--feature-gates=MutatingAdmissionPolicy=true",
        f"--runtime-config=admissionregistration.k8s.io/{stage}=true",
    ]


def _write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path
