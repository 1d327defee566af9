"""First process of a node: prepares its mounts, then only collects ended processes.

It runs in new mount, process and network namespaces, so everything on the node ends with it: pods,
shims, mounts, links and nftables rules. Whatever the node writes below /run and /var stays inside.

Usage: init.py <folder of the node>
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def mount(*args: str) -> None:
    subprocess.run(["mount", *args], check=True)


def main(folder: Path) -> None:
    upper, work = folder / "var", folder / "var-work"
    for each in (upper, work):
        each.mkdir()
    # Volumes that the kubelet mounts must show up inside of containers.
    mount("--make-rshared", "/")
    mount("-t", "tmpfs", "tmpfs", "/run")
    mount("-t", "overlay", "overlay", f"-olowerdir=/var,upperdir={upper},workdir={work}", "/var")
    for name in ("forwarding", "route_localnet"):
        Path("/proc/sys/net/ipv4/conf/all", name).write_text("1")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    (folder / "init-ready").touch()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(0.2)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(Path(sys.argv[1]))
