import subprocess
import sys

import pytest

from redisop import __version__, cli
from redisop.errors import InputError
from redisop.terminal import color_of


def redisop(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "redisop", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", **env}, check=False)


def test_version_and_help():
    assert redisop("--version").stdout == f"redisop {__version__}\n"
    shown = redisop("--help")
    assert shown.returncode == 0
    assert "completion" in shown.stdout
    assert "Exit codes" in shown.stdout


@pytest.mark.parametrize("arguments", [("--no-such-option",), ("no-such-command",), ("completion", "tcsh")])
def test_wrong_usage_exits_with_2(arguments):
    shown = redisop(*arguments)
    assert shown.returncode == 2
    assert "Usage:" in shown.stderr
    assert shown.stdout == ""


@pytest.mark.parametrize("shell", ["zsh", "fish", "bash"])
def test_completion_scripts_name_the_command(shell):
    shown = redisop("completion", shell)
    assert shown.returncode == 0
    assert "_REDISOP_COMPLETE" in shown.stdout


def test_errors_are_one_line_and_a_crash_is_2_without_its_text(monkeypatch, capsys):
    def fail(error: BaseException):
        def main(*_: object, **__: object):
            raise error

        monkeypatch.setattr(cli.cli, "main", main)
        return cli.run([])

    assert fail(InputError("is empty", where="spec.userId")) == 2
    assert capsys.readouterr().err == "error: spec.userId: is empty\n"
    assert fail(ZeroDivisionError("planted-secret")) == 2
    crashed = capsys.readouterr().err
    assert "ZeroDivisionError" in crashed
    assert "planted-secret" not in crashed
    assert fail(KeyboardInterrupt()) == 130


@pytest.mark.parametrize(
    ("env", "terminal", "coloured"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_colour(monkeypatch, env, terminal, coloured):
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert color_of(terminal=terminal) is coloured


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_that_begins_as_listed(name):
    shown = redisop(name, "--help")
    assert shown.returncode == 0
    listed = cli.COMMANDS[name][1].rstrip(".").split()[:2]
    assert " ".join(listed) in " ".join(shown.stdout.split())
