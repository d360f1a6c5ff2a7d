"""`farm completion`: the script that completes the command in a shell."""

from __future__ import annotations

import click

from cli.render import show_line


@click.command(short_help="Print the script that completes `farm` in your shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    farm completion bash > ~/.local/share/bash-completion/completions/farm
    farm completion zsh  > "${fpath[1]}/_farm"
    farm completion fish > ~/.config/fish/completions/farm.fish
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"no completion for {shell}")
    show_line(made(ctx.find_root().command, {}, "farm", "_FARM_COMPLETE").source())
