import secrets
from collections.abc import Iterator

import pytest

from tests.cluster import ControlPlane
from tests.cluster.node import Node, base_image, exporter_image
from tests.converged import install
from tests.e2e.support import Operator, Team


@pytest.fixture(scope="module")
def operator(
    own_control_plane: ControlPlane, node: Node, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    """A running operator for the whole cluster; at the end it must stop by SIGTERM and without an error."""
    for image in (base_image, exporter_image):
        node.import_image(image.archive())
    install(own_control_plane)
    started = Operator(own_control_plane, tmp_path_factory.mktemp("operator") / "log")
    started.start()
    yield started
    started.check()
    assert started.stop() == 0, started.log.read_text()[-4000:]


@pytest.fixture
def team(own_control_plane: ControlPlane, operator: Operator) -> Iterator[Team]:
    """A namespace of its own that enforces the restricted Pod Security Standard."""
    name = f"team-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
    own_control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    own_control_plane.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=30s")
    operator.check()
    yield Team(own_control_plane, operator, name)
    operator.check()
    own_control_plane.kubectl("delete", "namespace", name, "--wait=false")
