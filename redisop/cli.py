"""The `redisop` command: which sub-commands there are, and the only place that turns an outcome into an exit code.

Exit codes: 0 done (and, for `plan` and `gen-crds --check`, nothing differs), 1 something differs, 2 an error of any kind,
130 interrupted.
"""

import importlib
import os
import sys
import traceback
from typing import NoReturn

import click

from redisop import __version__
from redisop.errors import RedisopError
from redisop.terminal import color_of

COMMANDS = {
    "run": ("redisop.commands.run:run", "Watch RedisHttpInstances and bring the cluster to what they say."),
    "plan": ("redisop.commands.plan:plan", "Show what the operator would do, field by field."),
    "gen-crds": ("redisop.commands.crds:gen_crds", "Write the CustomResourceDefinitions and JSON Schemas."),
    "completion": ("redisop.commands.completion:completion", "Print a completion script for a shell."),
}
"""Where each command is, and its line in the help: neither `--help` nor `plan --offline` may wait for an HTTP library."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of the help."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command named `cmd_name`, if there is one."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done or no difference, 1 something differs, 2 error. REDISOP_DEBUG=1 shows tracebacks.",
)
@click.version_option(__version__, prog_name="redisop", message="%(prog)s %(version)s")
def cli() -> None:
    """Redis as a service over HTTP, on your own Kubernetes.

    `redisop plan` shows what the operator would do, field by field; `redisop run` does it.
    """


def main() -> NoReturn:
    """Run the command line and exit with one of the codes above."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line `arguments` and return its exit code; errors are told on stderr, in one line each."""
    name = "kubectl redisop" if os.path.basename(sys.argv[0]).startswith("kubectl-") else "redisop"  # noqa: PTH119 - a name, not a file
    try:
        code = cli.main(arguments, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough; flushing at exit must not complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except RedisopError as error:
        _debug()
        click.secho("error: ", fg="red", bold=True, nl=False, err=True, color=color_of(terminal=sys.stderr.isatty()))
        click.echo(str(error), err=True)
        return 2
    except Exception as error:  # noqa: BLE001 - a crash has to exit with 2, since 1 means «changes»
        _debug()
        # Only the type: the text of an unforeseen exception may hold anything, a secret too.
        click.echo(
            f"error: redisop crashed ({type(error).__name__}); REDISOP_DEBUG=1 shows where. This is a bug.", err=True
        )
        return 2
    return code if isinstance(code, int) else 0


def _debug() -> None:
    if os.environ.get("REDISOP_DEBUG"):
        traceback.print_exc()
