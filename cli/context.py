"""What every command needs: the open farm, and options that many share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from farm.bootstrap import Farm
    from farm.settings import Settings


def settings_of(ctx: click.Context) -> Settings:
    """The settings that `--home` and the environment come to."""
    from farm.settings import read_settings

    home: Path | None = ctx.find_root().obj["home"]
    return read_settings(home)


def opened(ctx: click.Context, *, create: bool = False) -> Farm:
    """The open farm.

    Raises:
        FarmError: it can not be opened; the message says why.
    """
    from farm.bootstrap import open_farm

    return open_farm(settings_of(ctx), create=create)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--json`: the same for programs."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


class CommaSeparated(click.ParamType[tuple[str, ...]]):
    """`1,8,32`, or the option given several times."""

    name = "LIST"

    def convert(
        self, value: Any, _param: click.Parameter | None, _ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The parts, without blanks."""
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in str(value).split(",") if part.strip())


class Pairs(click.ParamType[tuple[str, str]]):
    """`name=value`."""

    name = "NAME=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """The two halves."""
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not equals or not name.strip():
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        return name.strip(), text.strip()


def flattened(values: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """All parts of a repeated comma-separated option."""
    return tuple(part for value in values for part in value)
