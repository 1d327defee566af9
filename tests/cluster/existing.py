"""A cluster that somebody else started: kind, k3d, one in a cloud, or `python -m tests.cluster up`."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from .kubectl import Kubectl


class NotOurs(RuntimeError):
    """Asked for something that only a control plane of its own can do."""


class ExistingCluster(Kubectl):
    """Looks like a `ControlPlane` as far as a kubeconfig reaches; never stopped or cleaned."""

    own_control_plane = False
    audit_log = None

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        view = json.loads(self.kubectl("config", "view", "--minify", "-o", "json").stdout)
        self.url: str = view["clusters"][0]["cluster"]["server"]
        answer = json.loads(self.kubectl("version", "-o", "json").stdout)
        self.version = str(answer["serverVersion"]["gitVersion"]).removeprefix("v")

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> NoReturn:
        raise NotOurs(f"no certificate authority here to make a certificate for {user!r} in {list(groups)}")

    def audit_events(self, **wanted: str) -> Iterator[dict[str, Any]]:
        raise NotOurs(f"no audit log here to search for {wanted}")

    def log(self, component: str) -> str:
        raise NotOurs(f"no log of {component} here")
