"""Prometheus' own linter."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.cluster.fixtures import unavailable
from tests.cluster.gobuild import cached
from tests.cluster.paths import cache_dir
from tests.cluster.progress import run


def promtool():
    """Return the program: the machine's, else out of Debian's package, unpacked into the cache and not installed."""
    found = shutil.which("promtool")
    if found:
        return Path(found)
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        unavailable("needs promtool (Debian: prometheus)")
    target = cache_dir() / "promtool" / "promtool"

    def unpack(scratch: Path):
        known = subprocess.run(["apt-cache", "show", "prometheus"], capture_output=True, check=False).returncode == 0
        if not known and os.geteuid() == 0:
            run("Debian package lists", ["apt-get", "update"])
        run("promtool", ["apt-get", "download", "prometheus"], cwd=scratch)
        (package,) = scratch.glob("prometheus_*.deb")
        run("promtool", ["dpkg-deb", "-x", str(package), str(scratch / "root")])
        shutil.copy(scratch / "root" / "usr" / "bin" / "promtool", scratch / target.name)

    try:
        return cached(target, unpack)
    except RuntimeError as error:
        unavailable(f"needs promtool (Debian: prometheus): {error}")
