"""Names, labels and selectors of an instance's children."""

from dataclasses import dataclass

from redisop.kinds import INSTANCE_LABEL, MANAGED_BY, MANAGER

APP_NAME = "app.kubernetes.io/name"
APP_INSTANCE = "app.kubernetes.io/instance"
VOLUME = "data"


@dataclass(frozen=True, slots=True)
class Names:
    """Names of the children of instance `name` in `namespace`.

    `name` is at most 45 characters, so that `data-<name>-redis-0` and the Pod's `controller-revision-hash` label, which is the
    StatefulSet's name and a hash, stay within 63.
    """

    name: str
    namespace: str

    @property
    def base(self) -> str:
        """StatefulSet, ServiceAccount, NetworkPolicy, PodDisruptionBudget and ClusterIP Service."""
        return f"{self.name}-redis"

    @property
    def config(self) -> str:
        """ConfigMap of redis.conf and the scripts."""
        return f"{self.base}-config"

    @property
    def credentials(self) -> str:
        """Secret of the passwords."""
        return f"{self.base}-credentials"

    @property
    def acl(self) -> str:
        """Secret of the aclfile."""
        return f"{self.base}-acl"

    @property
    def headless(self) -> str:
        """Headless Service."""
        return f"{self.base}-headless"

    @property
    def pod(self) -> str:
        """The StatefulSet's only Pod."""
        return f"{self.base}-0"

    @property
    def claim(self) -> str:
        """PersistentVolumeClaim that the StatefulSet makes for its Pod."""
        return f"{VOLUME}-{self.pod}"

    @property
    def labels(self) -> dict[str, str]:
        """Labels of every child."""
        return {APP_INSTANCE: self.name, MANAGED_BY: MANAGER, **self.selector}

    @property
    def selector(self) -> dict[str, str]:
        """Labels by which the Pod is selected. A StatefulSet's selector can never change, so these cannot either."""
        return {APP_NAME: "redis", INSTANCE_LABEL: self.name}
