"""Which image an instance runs."""

from collections.abc import Iterable

from redisop.api import InstanceSpec
from redisop.manifests.base import Refused
from redisop.settings import Settings


def image(spec: InstanceSpec, settings: Settings) -> str:
    """Return the image of the Redis container; Refused where `spec.image` is not on the operator's allow-list."""
    if spec.image is None:
        return f"{settings.image_repository}:{spec.version or settings.default_version}"
    if not allowed(spec.image, settings.image_allow_list):
        raise Refused(
            "ImageNotAllowed",
            f"spec.image: {spec.image} is not on the operator's image allow-list. "
            "Use spec.version instead, or ask the administrator to add the image to REDISOP_IMAGE_ALLOW_LIST.",
            "spec.image",
        )
    return spec.image


def allowed(name: str, allow_list: Iterable[str]) -> bool:
    """Tell whether an entry of the allow-list covers the image `name`, compared as it is written."""
    return any(_covers(entry, name) for entry in allow_list)


def _covers(entry: str, name: str) -> bool:
    if entry.startswith("sha256:"):
        return name.endswith("@" + entry)
    if not name.startswith(entry):
        return False
    rest = name[len(entry) :]
    if not rest or entry.endswith("/") or rest[0] in "/@":
        return True
    # A colon begins a tag only when no path follows it: registry.example must not cover registry.example:5000/any.
    return rest[0] == ":" and "/" not in rest
