"""Clusters that go on running in the background, by name, until they are told to stop."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from .control_plane import ControlPlane
from .node import Node
from .paths import state_dir
from .progress import say
from .reaper import clean

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Running:
    """What the owner of a cluster tells when it is up."""

    version: str
    url: str
    data_dir: str
    node: str | None


class Daemon:
    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = state_dir() / "clusters" / name
        self.kubeconfig = self.folder / "kubeconfig"
        self.log = self.folder / "log"
        self._state = self.folder / "state.json"

    @classmethod
    def all(cls) -> list["Daemon"]:
        return [cls(folder.name) for folder in sorted((state_dir() / "clusters").glob("*")) if folder.is_dir()]

    @property
    def owned(self) -> bool:
        """Whether the process that owns the cluster lives, whatever the state file says."""
        with contextlib.suppress(FileNotFoundError), (self.folder / "lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    @property
    def running(self) -> Running | None:
        """`None` while it starts, and when it is not up."""
        if not self.owned:
            return None
        with contextlib.suppress(FileNotFoundError):
            return Running(**json.loads(self._state.read_text()))
        return None

    def up(self, version: str, *, node: bool, audit: bool, timeout: float = 2400.0) -> Running:
        """Start it and return when it is ready, showing what it does meanwhile.

        Raises:
            RuntimeError: it ended before it was ready; the log was shown.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log.write_text("")
        options = [f"--version={version}", *(["--node"] if node else []), *(["--audit"] if audit else [])]
        with self.log.open("ab") as log:
            owner = subprocess.Popen(
                [sys.executable, "-m", "tests.cluster", "own", f"--name={self.name}", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
                start_new_session=True,
            )
        try:
            running = self._watch(owner, time.monotonic() + timeout)
        except BaseException:
            owner.terminate()
            owner.wait(60)
            raise
        # It outlives this process on purpose.
        owner.returncode = 0
        return running

    def _watch(self, owner: subprocess.Popen[bytes], deadline: float) -> Running:
        """Show what the owner writes until the cluster is up."""
        with self.log.open() as shown:
            while True:
                running, ended = self.running, owner.poll() is not None
                sys.stderr.write(shown.read())
                if running:
                    return running
                if ended:
                    raise RuntimeError(f"cluster {self.name!r} did not start; all it said is in {self.log}")
                if time.monotonic() > deadline:
                    raise RuntimeError(f"cluster {self.name!r} is not up; all it said is in {self.log}")
                time.sleep(0.2)

    def down(self, timeout: float = 90.0) -> bool:
        """Stop it and remove all of it; `False` when there was nothing."""
        if not self.folder.exists():
            return False
        state = json.loads(self._state.read_text()) if self._state.exists() else {}
        if self.owned:
            pid = int((self.folder / "lock").read_text())
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + timeout
            while self.owned:
                if time.monotonic() > deadline:
                    say(f"{self.name}: its owner did not end in {timeout:.0f} s, killing it")
                    os.kill(pid, signal.SIGKILL)
                    break
                time.sleep(0.1)
        if state:
            clean(Path(state["data_dir"]))
        shutil.rmtree(self.folder)
        return True

    def own(self, version: str, *, node: bool, audit: bool) -> None:
        """Be the owner: start, tell, and wait for SIGTERM."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._held(), contextlib.ExitStack() as stack:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            cluster = stack.enter_context(ControlPlane.start(version, audit=audit))
            started = stack.enter_context(Node.start(cluster)) if node else None
            shutil.copy(cluster.kubeconfig, self.kubeconfig)
            state = Running(cluster.version, cluster.url, str(cluster.data_dir), started.name if started else None)
            scratch = self._state.with_suffix(".new")
            scratch.write_text(json.dumps(asdict(state)))
            scratch.rename(self._state)
            while True:
                signal.pause()

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        with (self.folder / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RuntimeError(f"cluster {self.name!r} runs already") from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            self._state.unlink(missing_ok=True)
            yield
            self._state.unlink(missing_ok=True)
