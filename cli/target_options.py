"""Options that name targets, shared by the commands that plan builds."""

from __future__ import annotations

import click

from cli.context import CommaSeparated

toolchain_option = click.option(
    "--toolchain",
    "toolchains",
    multiple=True,
    type=CommaSeparated(),
    help="tensorrt, tensorrt@8.6, all. [default: the newest of each]",
)
