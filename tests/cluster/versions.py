"""The Kubernetes versions that the test cluster can be."""

import os
from pathlib import Path

GO_DIR = Path(__file__).parent / "go"
"""`main.go`, and one folder per version with its `go.mod` and `go.sum`."""

DEFAULT_VERSION = "1.37.2"


def known_versions() -> list[str]:
    """Newest first."""
    found = [p.parent.name for p in GO_DIR.glob("*/go.mod") if p.parent.name[0].isdigit()]
    return sorted(found, key=lambda v: [int(part) for part in v.split(".")], reverse=True)


def versions_with_node() -> list[str]:
    """Those whose build has a kubelet; the others are a control plane only."""
    return [version for version in known_versions() if (GO_DIR / version / "node.go").exists()]


def selected_version() -> str:
    """The version that `REDISOP_K8S_VERSION` asks for; `1.32` picks the newest 1.32.x known."""
    return resolve(os.environ.get("REDISOP_K8S_VERSION") or DEFAULT_VERSION)


def resolve(version: str) -> str:
    wanted = version.removeprefix("v")
    for known in known_versions():
        if known == wanted or known.startswith(wanted + "."):
            return known
    raise ValueError(
        f"Kubernetes {version!r} is not one of {', '.join(known_versions())}; "
        f"add it with: python -m tests.cluster add-version {wanted}"
    )


def minor(version: str) -> int:
    """`1.37.2` -> 37."""
    return int(version.split(".")[1])
