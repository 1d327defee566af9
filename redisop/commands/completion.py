"""`redisop completion`: the script that teaches a shell to complete redisop's commands and options."""

import click
from click.shell_completion import get_completion_class

from redisop.errors import InputError


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a completion script for SHELL.

    \b
      source <(redisop completion bash)
      redisop completion zsh > "${fpath[1]}/_redisop"
      redisop completion fish > ~/.config/fish/completions/redisop.fish
    """
    found = get_completion_class(shell)
    if found is None:
        raise InputError(f"no completion for {shell}")
    click.echo(found(ctx.find_root().command, {}, "redisop", "_REDISOP_COMPLETE").source())
