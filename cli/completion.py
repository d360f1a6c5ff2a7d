"""`farm completion`: the script that completes the command in a shell."""

from __future__ import annotations

import click

from cli.context import json_option
from cli.render import show_json, show_line


@click.command(short_help="Print the script that completes `farm` in your shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
@click.pass_context
def completion(ctx: click.Context, shell: str, as_json: bool) -> None:
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
    script = made(ctx.find_root().command, {}, "farm", "_FARM_COMPLETE").source()
    if as_json:
        show_json({"shell": shell, "script": script})
    else:
        show_line(script)
