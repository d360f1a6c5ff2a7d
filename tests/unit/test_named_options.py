"""Options and commands that messages name are there: a hint that can not be followed is worse than none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from cli.main import COMMANDS, farm

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
#: Of other programs: Docker, Nsight Systems, trtexec.
FOREIGN = {
    *("--gpus", "--force-overwrite", "--trace", "--sample", "--cpuctxsw"),
    *("--calib", "--onnx", "--fp16", "--bf16", "--int8", "--best"),
}
#: Modules about trtexec's flags, and those with a page's styles, whose variables begin as options do.
TRTEXEC, STYLES = "trtexec", ("report_svg.py", "report_styles.py", "report_html.py")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9](?![\w-])")


def options_below(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from options_below(below)


@pytest.fixture(scope="module")
def known() -> set[str]:
    return {"--help", *options_below(farm)}


@pytest.mark.parametrize("folder", ["cli", "farm", "workers"])
def test_every_option_that_the_code_names_is_one_of_a_command(folder: str, known: set[str]) -> None:
    unknown = {
        (path.relative_to(ROOT).as_posix(), option)
        for path in (ROOT / folder).rglob("*.py")
        if TRTEXEC not in path.name and path.name not in STYLES
        for option in OPTION.findall(path.read_text())
        if option not in known | FOREIGN
    }
    assert not unknown


@pytest.mark.parametrize("folder", ["cli", "farm", "workers", "docs"])
def test_every_command_that_is_named_exists(folder: str) -> None:
    unknown = {
        (path.relative_to(ROOT).as_posix(), name)
        for suffix in ("py", "md")
        for path in (ROOT / folder).rglob(f"*.{suffix}")
        for name in re.findall(r"`farm ([a-z][a-z-]+)", path.read_text())
        if name not in COMMANDS
    }
    assert not unknown
