"""Programs that tests start and that a fresh Debian machine lacks."""

import os
import shutil

from tests.cluster.fixtures import unavailable
from tests.cluster.node.host import install


def redis_server() -> str:
    """Return the path of redis-server; as root on Debian it is installed first, with redis-cli, where it is missing."""
    if os.geteuid() == 0 and shutil.which("apt-get") and not shutil.which("redis-server"):
        install({"redis-server": ["/usr/bin/redis-server"]})
    if shutil.which("redis-server") is None or shutil.which("redis-cli") is None:
        unavailable("needs redis-server and redis-cli on PATH (Debian: redis-server)")
    return str(shutil.which("redis-server"))
