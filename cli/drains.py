"""`farm worker drain` and `farm worker resume`: from anywhere, by name, id or host."""

from __future__ import annotations

import click

from cli.context import json_option, opened
from cli.render import show_json, show_line

_HOST_OPTION = click.option("--host", "is_host", is_flag=True, help="NAME is a host: all of its workers.")


@click.command(short_help="Let a worker finish what it does and take nothing new.")
@click.argument("name")
@_HOST_OPTION
@click.option("--reason", default="", help="Shown to whoever wonders.")
@json_option
@click.pass_context
def drain(ctx: click.Context, name: str, is_host: bool, reason: str, as_json: bool) -> None:
    """Let worker NAME (or its id, or the id's beginning) finish what it does and take nothing new.

    It stays drained until `farm worker resume`, also when it is started again.

    \b
    farm worker drain gpu07-0 --reason "new driver"
    farm worker drain gpu07 --host --reason "new power supply"
    """
    from farm.services.drains import drain_workers

    farm = opened(ctx)
    why = reason or f"{farm.settings.user} asked"
    with farm.database.transaction() as transaction:
        drained = drain_workers(transaction, name, why, farm.settings.user, is_host=is_host)
    if as_json:
        show_json(
            {
                "drained": [
                    {"name": w.name, "job": w.current_job or None, "reason": w.drain_reason or why}
                    for w in drained
                ]
            }
        )
        return
    for found in drained:
        if found.drain_reason:
            show_line(f"{found.name} was drained before: {found.drain_reason}")
        elif not found.is_live:
            show_line(f"{found.name} does not run; it takes nothing when it is started again")
        else:
            job = f"; it still runs {found.current_job}" if found.current_job else ""
            show_line(f"{found.name} takes nothing new{job}")


@click.command(short_help="Let a drained worker take jobs again.")
@click.argument("name")
@_HOST_OPTION
@json_option
@click.pass_context
def resume(ctx: click.Context, name: str, is_host: bool, as_json: bool) -> None:
    """Let worker NAME (or its id, or the id's beginning) take jobs again.

    \b
    farm worker resume gpu07-0
    farm worker resume gpu07 --host
    """
    from farm.services.drains import resume_workers

    with opened(ctx).database.transaction() as transaction:
        names = resume_workers(transaction, name, is_host=is_host)
    if as_json:
        show_json({"resumed": names})
        return
    for resumed in names:
        show_line(f"{resumed} takes jobs again")
