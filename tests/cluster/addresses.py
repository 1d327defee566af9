"""Ports and address ranges that no other cluster on this machine uses."""

import contextlib
import fcntl
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .paths import state_dir
from .reaper import clean


@dataclass(frozen=True)
class Addresses:
    """One private /16, cut up. All of it is virtual until a node makes the link."""

    slot: int

    @property
    def link_name(self) -> str:
        return f"redisop{self.slot}"

    @property
    def host(self) -> str:
        """This machine, as pods and the kubelet see it; advertised by the apiserver."""
        return f"10.{self.slot}.0.1"

    @property
    def node(self) -> str:
        return f"10.{self.slot}.0.2"

    @property
    def pods(self) -> str:
        return f"10.{self.slot}.16.0/20"

    @property
    def services(self) -> str:
        return f"10.{self.slot}.128.0/18"

    @property
    def api_service(self) -> str:
        return f"10.{self.slot}.128.1"

    @property
    def dns_service(self) -> str:
        return f"10.{self.slot}.128.10"


class Slot:
    """One of the address ranges, held as long as this process lives.

    The lock is the kernel's, so it ends with its holder; the file then still names the data folder
    of a cluster that may not have been cleaned up, and the next holder does it.
    """

    FIRST, LAST = 192, 254

    def __init__(self, number: int, lock: IO[str]) -> None:
        self.addresses = Addresses(number)
        self._lock = lock

    @classmethod
    def take(cls) -> "Slot":
        folder = state_dir() / "slots"
        folder.mkdir(exist_ok=True)
        used = _routed()
        for number in range(cls.FIRST, cls.LAST + 1):
            lock = (folder / str(number)).open("a+")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            lock.seek(0)
            left_over = lock.read().strip()
            if left_over and Path(left_over).exists():
                clean(Path(left_over))
                used = _routed()
            if number not in used:
                return cls(number, lock)
            lock.close()
        raise RuntimeError(f"no address range left for a test cluster; see {folder}")

    def hold(self, data_dir: Path) -> None:
        self._lock.seek(0)
        self._lock.truncate()
        self._lock.write(str(data_dir))
        self._lock.flush()

    def release(self) -> None:
        with contextlib.suppress(OSError):
            self._lock.truncate(0)
        self._lock.close()


def free_ports(count: int) -> list[int]:
    """Loopback ports that were free a moment ago, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _routed() -> set[int]:
    """Second bytes of the 10.x networks that this machine routes."""
    try:
        rows = Path("/proc/net/route").read_text().splitlines()[1:]
    except OSError:
        return set()
    destinations = [bytes.fromhex(row.split()[1])[::-1] for row in rows]
    return {address[1] for address in destinations if address[0] == 10}
