"""The namespaces that a node lives in, and the processes inside."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster.component import Component, ComponentError


class Inside(Component):
    """A component inside of the node's namespaces.

    `nsenter` waits outside for it, so signals go to its child, which is the component.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        data_dir: Path,
        *,
        init_pid: int,
        env: Mapping[str, str] | None = None,
    ) -> None:
        enter = ["nsenter", "--target", str(init_pid), "--mount", "--pid", "--net", "--"]
        super().__init__(name, [*enter, *argv], data_dir, env=env)

    @property
    def pid(self) -> int:
        return _child(super().pid) or super().pid


class Sandbox:
    """Mount, process and network namespaces; when `stop` returns, nothing in them runs."""

    def __init__(self, data_dir: Path, folder: Path) -> None:
        if folder.resolve().is_relative_to("/var") or folder.resolve().is_relative_to("/run"):
            raise ValueError(f"a node cannot live in {folder}: set TMPDIR to a folder outside of /var and /run")
        init = [sys.executable, "-I", "-S", str(Path(__file__).with_name("init.py")), str(folder)]
        unshare = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc"]
        self._folder = folder
        self._init = Component("init", [*unshare, *init], data_dir)

    def start(self) -> int:
        """The process id, seen from here, of the first process inside."""
        self._init.start()
        self._init.wait_for("the node's mounts", (self._folder / "init-ready").exists)
        pid = _child(self._init.pid)
        if pid is None:
            raise ComponentError(f"the node's first process ended\n{self._init.tail()}")
        return pid

    def stop(self) -> None:
        self._init.kill()


def _child(pid: int) -> int | None:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None
