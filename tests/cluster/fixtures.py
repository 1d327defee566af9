"""pytest fixtures: one control plane, and at most one node, for the whole session.

Options: `--kubeconfig FILE` or the environment variable `KUBECONFIG` use that cluster instead of
starting one; `REDISOP_K8S_VERSION` picks the version of the one that is started.
"""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from .control_plane import ControlPlane
from .existing import ExistingCluster
from .gobuild import kubernetes_binary
from .node import Node, build_everything, why_no_node
from .versions import selected_version, versions_with_node

Cluster = ControlPlane | ExistingCluster


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kubeconfig",
        metavar="FILE",
        help="run against this cluster, in throw-away namespaces, instead of starting one ($KUBECONFIG)",
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test, so that no test's timeout pays for the compiler."""
    if session.config.option.collectonly or _kubeconfig(session.config):
        return
    used = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    version = selected_version()
    if "control_plane" in used:
        kubernetes_binary(version)
    if "node" in used and version in versions_with_node() and why_no_node() is None:
        build_everything(version)


@pytest.fixture(scope="session")
def control_plane(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """The session's cluster; started with an audit log, or the one of the kubeconfig given."""
    if given := _kubeconfig(pytestconfig):
        yield ExistingCluster(given)
        return
    with ControlPlane.start(audit=True) as started:
        yield started


@pytest.fixture(scope="session")
def own_control_plane(control_plane: Cluster) -> ControlPlane:
    """The session's control plane, for tests that read its logs or disturb it."""
    if not isinstance(control_plane, ControlPlane):
        unavailable("needs a control plane of its own, and a kubeconfig was given")
    return control_plane


@pytest.fixture(scope="session")
def node(own_control_plane: ControlPlane) -> Iterator[Node]:
    """The session's node, which runs pods; it has the image `node.REDIS` and the StorageClass `local`."""
    if reason := why_no_node():
        unavailable(reason)
    if own_control_plane.version not in versions_with_node():
        unavailable(f"no kubelet is built for {own_control_plane.version}, only for {', '.join(versions_with_node())}")
    with Node.start(own_control_plane) as started:
        yield started


@pytest.fixture
def namespace(control_plane: Cluster) -> Iterator[str]:
    """A new namespace; its deletion starts with the end of the test and nobody waits for it."""
    name = f"test-{secrets.token_hex(4)}"
    labels = {"redisop.test/throw-away": "true"}
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    # Without it the first pod is refused.
    control_plane.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=30s")
    yield name
    control_plane.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def unavailable(reason: str) -> NoReturn:
    """Skip the test; in CI, where every tier must run, fail it."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"{reason}; CI must run this tier")
    pytest.skip(reason)


def _kubeconfig(config: pytest.Config) -> Path | None:
    given = config.getoption("--kubeconfig") or os.environ.get("KUBECONFIG")
    return Path(given) if given else None
