"""Removes what a cluster leaves, whatever way its owner ended.

Run as `python reaper.py <data folder>` with a pipe as standard input. The owner holds the other
end and never writes: end of file means that it stopped the cluster, or was killed. Everything
that is removed is found by the data folder, so the same code also cleans up much later.

Only the standard library, no imports of the package: it must start at once.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

PREFIX = "redisop-cluster-"
MARK = b"REDISOP_TEST_CLUSTER="


def marked(data_dir: Path) -> list[int]:
    """Processes started for the cluster in `data_dir`, and what they started."""
    wanted = MARK + bytes(data_dir)
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
    return found


def kill_marked(data_dir: Path, timeout: float = 20.0) -> None:
    """SIGKILL until nothing is left; a node's pods end with the first process of its namespace."""
    deadline = time.monotonic() + timeout
    while pids := [p for p in marked(data_dir) if p != os.getpid()]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            print(f"still running: {pids}", file=sys.stderr)
            return
        time.sleep(0.02)


def remove_cgroups(name: str) -> None:
    """Remove the cgroups called `name`, deepest first, killing what is still inside."""
    for root in [*Path("/sys/fs/cgroup").glob(f"*/{name}"), Path("/sys/fs/cgroup", name)]:
        if not root.is_dir():
            continue
        deadline = time.monotonic() + 10
        while root.is_dir() and time.monotonic() < deadline:
            for folder, _, _ in os.walk(root, topdown=False):
                with contextlib.suppress(OSError):
                    for pid in Path(folder, "cgroup.procs").read_text().split():
                        os.kill(int(pid), signal.SIGKILL)
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
            time.sleep(0.02)


def remove_network(name: str) -> None:
    """Remove the link and the nftables table called `name`."""
    for argv in (["ip", "link", "delete", name], ["nft", "delete", "table", "ip", name]):
        with contextlib.suppress(FileNotFoundError):
            subprocess.run(argv, capture_output=True, check=False)


def clean(data_dir: Path) -> None:
    if not data_dir.name.startswith(PREFIX):
        raise ValueError(f"{data_dir} is not the data folder of a test cluster")
    kill_marked(data_dir)
    node = data_dir / "node-name"
    if node.exists():
        name = node.read_text().strip()
        remove_cgroups(name)
        remove_network(name)
    shutil.rmtree(data_dir, ignore_errors=True)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    clean(Path(sys.argv[1]))
