"""`farm queue`: what waits for whom, and why one job is not running yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cli.context import json_option, opened
from cli.render import age, show_json, show_line, show_table

if TYPE_CHECKING:
    from datetime import datetime

    from farm.domain.overview import TargetLoad

_STRANDED = "no worker takes these"


@click.command(short_help="Show what waits for each target, and why a job waits.")
@click.option("--why", "job", metavar="JOB", help="Say why this job is where it is.")
@click.option("--check", is_flag=True, help="Exit with 6 if jobs wait that no live worker can take.")
@json_option
@click.pass_context
def queue(ctx: click.Context, job: str | None, check: bool, as_json: bool) -> None:
    """Show for every target how many jobs wait and run, how long the oldest has waited, and who is there for them.

    \b
    farm queue
    farm queue --why j-7k2m9xq4tn
    """
    if job is not None:
        _show_why(ctx, job, as_json=as_json)
        return
    farm = opened(ctx)
    with farm.database.reading() as transaction:
        loads = transaction.jobs.loads()
        now = transaction.now()
    if as_json:
        show_json([_document(load, now) for load in loads])
    else:
        show_table(
            ["device type", "toolchain", "waiting>", "running>", "oldest", "live workers>", "idle>", ""],
            [
                (
                    load.slug,
                    str(load.target.toolchain),
                    load.waiting,
                    load.running,
                    age(load.oldest_since, now) if load.oldest_since and load.oldest_since <= now else None,
                    load.live_workers,
                    load.idle_workers,
                    _STRANDED if load.is_stranded else None,
                )
                for load in loads
            ],
            empty="Nothing waits, and no worker is there.",
        )
        for load in loads:
            if load.is_stranded:
                show_line(_advice(load, is_embedded=farm.settings.is_embedded))
    if check and any(load.is_stranded for load in loads):
        ctx.exit(6)


def _document(load: TargetLoad, now: datetime) -> dict[str, Any]:
    return {
        "device_type": load.slug,
        "toolchain": str(load.target.toolchain),
        "queue": load.target.queue,
        "waiting": load.waiting,
        "running": load.running,
        "oldest_wait_s": None
        if load.oldest_since is None
        else max(round((now - load.oldest_since).total_seconds(), 1), 0.0),
        "live_workers": load.live_workers,
        "idle_workers": load.idle_workers,
        "draining_workers": load.draining_workers,
        "stranded": load.is_stranded,
    }


def _advice(load: TargetLoad, *, is_embedded: bool) -> str:
    name = f"{load.slug} · {load.target.toolchain}"
    if load.live_workers:
        return f"{name}: {load.waiting} job(s) wait, and its {load.live_workers} worker(s) take nothing new: `farm workers` says why, and what resumes them"
    how = "start one with `farm up`" if is_embedded else "start `farm worker` on such a machine"
    return f"{name}: {load.waiting} job(s) wait, and no worker that serves it is live: {how}"


def _show_why(ctx: click.Context, job_id: str, *, as_json: bool) -> None:
    from farm.services.waiting import why_it_waits

    with opened(ctx).database.reading() as transaction:
        found = why_it_waits(transaction, job_id)
    if as_json:
        show_json(found.as_json())
        return
    for line in found.lines:
        show_line(line)
