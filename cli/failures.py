"""`farm failures`: what fails again and again, and since when."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

import click

from cli.context import json_option, opened
from cli.render import age, show_json, show_line, show_table


@click.command(short_help="Show failed attempts by what they have in common.")
@click.option("--since", help="Only of the last 90m, 24h, 7d, …")
@click.option("--target", help="Only where this stands in the name of a target, such as h200.")
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many groups."
)
@json_option
@click.pass_context
def failures(ctx: click.Context, since: str | None, target: str | None, limit: int, as_json: bool) -> None:
    """Group failed attempts by their signature: code, phase and message without its numbers, paths and names.

    \b
    farm failures --since 7d
    """
    from farm.domain.durations import parse_duration

    with opened(ctx).database.reading() as transaction:
        now = transaction.now()
        start = now - timedelta(seconds=parse_duration(since)) if since else None
        found = transaction.jobs.failures(start, limit)
    if target:
        found = [group for group in found if any(target.lower() in name.lower() for name in group.targets)]
    if as_json:
        show_json([asdict(group) for group in found])
        return
    show_table(
        ["signature", "code", "phase", "attempts>", "jobs>", "first", "last", "where", "on"],
        [
            (
                group.signature,
                group.code,
                group.phase or None,
                group.attempts,
                group.jobs,
                age(group.first_at, now),
                age(group.last_at, now),
                ", ".join(group.targets),
                ", ".join(group.hosts),
            )
            for group in found
        ],
        empty="No attempt has failed.",
    )
    for group in found:
        show_line()
        show_line(f"{group.signature}  first: {group.first_message}")
        show_line(f"{' ' * len(group.signature)}  last:  {group.last_message}  (farm logs {group.last_job})")
