"""Run a slow command so that somebody watching sees what it does, and for how long."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path


class CommandError(RuntimeError):
    """A command failed; the message ends with the last lines it wrote."""


def say(text: str) -> None:
    print(f"[cluster] {text}", file=sys.stderr, flush=True)


def run(
    what: str,
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    every: float = 15.0,
    timeout: float = 1800.0,
) -> str:
    """Run `argv`, reporting every `every` seconds, and return all it wrote.

    A report names the last line of output, so a step that is stuck shows as the same line again.
    """
    began = time.monotonic()
    say(f"{what}: started")
    child = subprocess.Popen(
        [str(a) for a in argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=cwd,
        env={**os.environ, **(env or {})},
        # A compiler starts compilers: all of them end together.
        start_new_session=True,
    )
    lines: deque[str] = deque(maxlen=400)
    assert child.stdout is not None
    reader = threading.Thread(target=lines.extend, args=(child.stdout,), daemon=True)
    reader.start()
    try:
        while True:
            try:
                code = child.wait(timeout=every)
                break
            except subprocess.TimeoutExpired:
                elapsed = time.monotonic() - began
                last = lines[-1].strip()[:120] if lines else "no output yet"
                say(f"{what}: {elapsed:.0f} s, at: {last}")
                if elapsed > timeout:
                    raise CommandError(f"{what}: not done after {timeout:.0f} s, at: {last}") from None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        reader.join(timeout=5)
        child.stdout.close()
    output = "".join(list(lines))
    if code:
        raise CommandError(f"{what}: exit status {code}\n{_tail(output)}")
    say(f"{what}: done in {time.monotonic() - began:.0f} s")
    return output


def _tail(output: str, lines: int = 25) -> str:
    return "\n".join(output.rstrip().splitlines()[-lines:])
