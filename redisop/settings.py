"""The operator's own settings, read once from the environment."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from redisop.errors import InputError

PREFIX = "REDISOP_"

_REPOSITORY = r"^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$"
_IMAGE = r"^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$"
_TAG = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"
_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_DOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*(:[0-9]{1,5})?$"
_DIGEST = "sha256:"


def _comma_separated(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return value


def _whole_digest(entry: str) -> str:
    if entry.startswith(_DIGEST) and len(entry) != len(_DIGEST) + 64:
        raise ValueError("a digest must be sha256: and 64 hexadecimal digits")
    return entry


AllowedImage = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$"), AfterValidator(_whole_digest)]
Namespace = Annotated[str, Field(pattern=_LABEL, max_length=63)]


class Settings(BaseModel):
    """What an administrator decides for all instances. Each is read from `REDISOP_` and its name in upper case."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_repository: Annotated[str, Field(pattern=_REPOSITORY)] = "docker.io/library/redis"
    """Repository whose tags `spec.version` names. The image runs as uid 999 and has sh, redis-server and redis-cli."""
    default_version: Annotated[str, Field(pattern=_TAG)] = "8.2"
    """Tag for instances that name neither version nor image."""
    image_allow_list: Annotated[tuple[AllowedImage, ...], BeforeValidator(_comma_separated)] = ()
    """What `spec.image` may be, separated by commas: an image or a prefix of it that ends where a path, tag or digest begins,
    or `sha256:` and a digest. None by default."""
    exporter_image: Annotated[str, Field(pattern=_IMAGE)] = "docker.io/oliver006/redis_exporter:v1.80.0"
    """Image of the metrics exporter."""
    domain: Annotated[str, Field(pattern=_DOMAIN, max_length=253)] | None = None
    """Domain of the HTTP gateway, under which every instance has a host; without it, instances have no HTTP endpoint."""
    operator_namespace: Namespace = "redisop-system"
    """Namespace that the operator runs in; it may reach every instance's Redis port."""
    gateway_namespace: Namespace = "redisop-system"
    """Namespace that the gateway runs in; it may reach every instance's Redis port."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Return the settings that `environ` holds; an empty variable counts as left out.

        InputError naming the variable where a value is wrong. Other variables with the prefix are ignored: Kubernetes
        itself sets some (REDISOP_PORT, …) where a Service has the name redisop.
        """
        names = {PREFIX + field.upper(): field for field in cls.model_fields}
        found = {field: environ[name] for name, field in names.items() if environ.get(name, "").strip()}
        try:
            return cls.model_validate({field: value.strip() for field, value in found.items()})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = PREFIX + str(first["loc"][0]).upper()
            value = found[str(first["loc"][0])]
            raise InputError(f"{value!r} is not accepted: {first['msg']}", where=name) from None
