"""A real node, and the images that run on it."""

from .debian import BASE, EXPORTER, REDIS, base_image, exporter_image, redis_image
from .host import why_no_node
from .node import Node, NoNode, build_everything

__all__ = [
    "BASE",
    "EXPORTER",
    "REDIS",
    "NoNode",
    "Node",
    "base_image",
    "build_everything",
    "exporter_image",
    "redis_image",
    "why_no_node",
]
