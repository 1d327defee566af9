"""redisop: Redis as a service over HTTP, on one's own Kubernetes."""

__version__ = "0.1.0"
