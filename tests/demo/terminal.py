"""What the demo prints, and the commands it runs as a user would."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence

from redisop.terminal import color_of


class Failed(Exception):
    """A step did not show what it should have."""


class Terminal:
    def __init__(self) -> None:
        self._color = color_of(terminal=sys.stdout.isatty())

    def heading(self, number: str, text: str) -> None:
        head, _, rest = text.partition("\n")
        print(f"\n{self._style('1;36', f'[{number}]')} {self._style('1', head)}", flush=True)
        if rest.strip():
            print(textwrap.indent(textwrap.dedent(rest).strip(), "    "), flush=True)

    def say(self, text: str) -> None:
        print(textwrap.indent(text.rstrip(), "    "), flush=True)

    def command(self, text: str) -> None:
        print(f"    {self._style('2', '$')} {self._style('32', text)}", flush=True)

    def error(self, text: str) -> None:
        print(f"{self._style('1;31', 'demo failed:')} {text}", file=sys.stderr, flush=True)

    def run(
        self,
        shown: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        expect: int = 0,
        quiet: bool = False,
        stdin: str | None = None,
    ) -> str:
        """Print and run a command; its output is what the user sees. Failed where it exits with anything but `expect`."""
        self.command(shown)
        colour = {"FORCE_COLOR": "1"} if self._color else {}
        done = subprocess.run(
            command, env={**os.environ, **env, **colour}, capture_output=True, text=True, check=False, input=stdin
        )
        if not quiet or done.returncode != expect:
            self.say(done.stdout + done.stderr)
        if done.returncode != expect:
            raise Failed(f"`{shown}` exited with {done.returncode}, not {expect}")
        return done.stdout

    def _style(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._color else text
