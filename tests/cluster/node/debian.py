"""Images out of Debian packages: a base for Python, Redis, and its exporter."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.gobuild import cached
from tests.cluster.paths import cache_dir
from tests.cluster.progress import run

from .host import PACKAGES, debian_mirror, install
from .images import ImageConfig, write_image

SUITE = "bookworm"
BASE = "redisop.test/python:3.11"
REDIS = "docker.io/library/redis:7.0"
EXPORTER = "docker.io/oliver006/redis_exporter:test"

REDIS_UID = 999
"""The same as in the public image of Redis."""

RECIPE = 1
"""Raise it when the code below makes something else out of the same packages."""


@dataclass(frozen=True)
class DebianImage:
    name: str
    packages: Sequence[str]
    config: ImageConfig
    finish: Callable[[Path], None] | None = None

    def archive(self) -> Path:
        """The OCI archive; about a minute when it is not in the cache. Needs root and the network."""
        recipe = json.dumps([RECIPE, SUITE, self.name, list(self.packages), repr(self.config)])
        key = hashlib.sha256(recipe.encode()).hexdigest()[:16]
        short = self.name.rpartition("/")[2].replace(":", "-")
        target = cache_dir() / "images" / f"{short}-{key}.tar"
        return cached(target, lambda scratch: self._build(scratch, target.name))

    def _build(self, scratch: Path, target: str) -> None:
        install(PACKAGES)
        root = scratch / "root"
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(self.packages)}", SUITE, str(root)]
        mirror = debian_mirror()
        run(f"image {self.name}", ["nice", *command, *([mirror] if mirror else [])])
        for waste in (
            "var/cache/apt",
            "var/lib/apt/lists",
            "usr/share/doc",
            "usr/share/man",
            "usr/share/locale",
            "var/log",
        ):
            shutil.rmtree(root / waste, ignore_errors=True)
            (root / waste).mkdir(parents=True)
        # Mounted by the runtime; device nodes in a layer need privileges to unpack.
        shutil.rmtree(root / "dev")
        (root / "dev").mkdir()
        if self.finish:
            self.finish(root)
        write_image(scratch / target, self.name, self.config, rootfs=root)


def _finish_redis(root: Path) -> None:
    """Make it look like the public image: user 999, programs in /usr/local/bin, /data."""
    _set_ids(root / "etc/passwd", f"{REDIS_UID}:{REDIS_UID}")
    _set_ids(root / "etc/group", f"{REDIS_UID}")
    for program in ("redis-server", "redis-cli", "redis-check-aof", "redis-check-rdb"):
        (root / "usr/local/bin" / program).symlink_to(f"/usr/bin/{program}")
    data = root / "data"
    data.mkdir()
    shutil.chown(data, REDIS_UID, REDIS_UID)


def _set_ids(path: Path, ids: str) -> None:
    changed = []
    for line in path.read_text().splitlines():
        parts = line.split(":")
        if parts[0] == "redis":
            parts[2 : 2 + len(ids.split(":"))] = ids.split(":")
        changed.append(":".join(parts))
    path.write_text("\n".join(changed) + "\n")


base_image = DebianImage(BASE, ["python3", "python3-venv", "ca-certificates"], ImageConfig(cmd=["python3"]))
redis_image = DebianImage(
    REDIS,
    ["redis-server"],
    ImageConfig(cmd=["redis-server"], user=f"{REDIS_UID}:{REDIS_UID}", workdir="/data"),
    _finish_redis,
)
exporter_image = DebianImage(
    EXPORTER, ["prometheus-redis-exporter"], ImageConfig(["prometheus-redis-exporter"], user="59000:59000")
)
