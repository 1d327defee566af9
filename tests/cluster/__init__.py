"""A real Kubernetes for tests and for trying things out, without Docker."""

from .component import Component, ComponentError
from .control_plane import ControlPlane
from .existing import ExistingCluster, NotOurs
from .versions import DEFAULT_VERSION, known_versions

__all__ = [
    "DEFAULT_VERSION",
    "Component",
    "ComponentError",
    "ControlPlane",
    "ExistingCluster",
    "NotOurs",
    "known_versions",
]
