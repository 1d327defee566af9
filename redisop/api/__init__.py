"""The two custom resources as frozen Pydantic models; their docstrings are `kubectl explain`.

`RedisHttpInstance.model_validate(obj)` reads a live object and is lenient: unknown fields and rules do not matter, the server
has admitted it. `parse(obj)` reads a manifest as strictly as the server would.
"""

from redisop.api.apikey import ApiKey, ApiKeySpec, ApiKeyStatus, duration
from redisop.api.base import Condition, Metadata, Model
from redisop.api.instance import InstanceSpec, InstanceStatus, RedisHttpInstance
from redisop.api.reading import parse
from redisop.api.redis import Parameters, RedisConfig
from redisop.api.scheduling import Scheduling

__all__ = [
    "ApiKey",
    "ApiKeySpec",
    "ApiKeyStatus",
    "Condition",
    "InstanceSpec",
    "InstanceStatus",
    "Metadata",
    "Model",
    "Parameters",
    "RedisConfig",
    "RedisHttpInstance",
    "Scheduling",
    "duration",
    "parse",
]
