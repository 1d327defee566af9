"""One long-running process of the cluster, which fault tests can stop, pause and start again."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

MARK = "REDISOP_TEST_CLUSTER"
"""Environment variable, with the cluster's data folder as value, that every process carries."""


class ComponentError(RuntimeError):
    """A component died or did not get ready; the message ends with the tail of its log."""


class Component:
    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        data_dir: Path,
        *,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.argv = [str(a) for a in argv]
        self.log_file = data_dir / "logs" / f"{name}.log"
        # An apiserver that asks a proxy for a webhook on loopback does not find it.
        inherited = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        self._env = {**inherited, **(env or {}), MARK: str(data_dir)}
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._child is None:
            raise ComponentError(f"{self.name} was not started")
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start, or start again with the same arguments; the log goes on in the same file."""
        if self.running:
            return
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self.log_file.parent,
                # Ctrl-C goes to a terminal's whole process group: the cluster decides the order.
                start_new_session=True,
            )

    def stop(self, grace: float = 10.0) -> None:
        """SIGTERM, and SIGKILL when it still runs after `grace` seconds."""
        self._end(signal.SIGTERM, grace)

    def kill(self) -> None:
        """SIGKILL: a crash."""
        self._end(signal.SIGKILL, 10.0)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nobody answers."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def wait_for(self, what: str, ready: Callable[[], bool], timeout: float = 120.0) -> None:
        """Poll `ready` until it is true; a dead process ends the wait at once."""
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.running:
                code = self._child.returncode if self._child else None
                raise ComponentError(f"{self.name} ended (status {code})\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ComponentError(f"{self.name}: {what} not true after {timeout:.0f} s\n{self.tail()}")
            time.sleep(0.05)

    def tail(self, lines: int = 20) -> str:
        """The last lines of the log, for an error message."""
        try:
            text = self.log_file.read_text(errors="replace")
        except FileNotFoundError:
            return "(no log)"
        last = "\n".join(text.rstrip().splitlines()[-lines:])
        return f"--- {self.log_file}\n{last}"

    def _end(self, number: signal.Signals, grace: float) -> None:
        if self._child is None or self._child.poll() is not None:
            return
        self._send(number)
        # A paused process takes SIGTERM only when it goes on.
        self._send(signal.SIGCONT)
        try:
            self._child.wait(grace)
        except subprocess.TimeoutExpired:
            self._send(signal.SIGKILL)
            self._child.wait(10)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
