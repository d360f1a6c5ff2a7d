"""`farm status` and `farm watch`: where submissions stand."""

from __future__ import annotations

import click

from cli.build_spread import precision_text
from cli.context import json_option, opened
from cli.render import age, show_json, show_line, show_table
from cli.tables import describe_state, progress_as_json


@click.command(short_help="Show submissions and their jobs.")
@click.argument("submission", required=False)
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="How many submissions to list."
)
@json_option
@click.pass_context
def status(ctx: click.Context, submission: str | None, limit: int, as_json: bool) -> None:
    """Show the newest submissions, or every cell of one SUBMISSION (its id or the id's beginning).

    \b
    farm status
    farm status s-7k2m
    """
    from farm.services.progress import progress_of

    farm = opened(ctx)
    with farm.database.reading() as transaction:
        now = transaction.now()
        jobs = transaction.jobs
        found = progress_of(
            transaction, jobs.submissions(limit) if submission is None else [jobs.submission(submission)]
        )
    if as_json:
        documents = [progress_as_json(progress) for progress in found]
        show_json(documents if submission is None else documents[0])
        return
    if submission is None:
        rows = []
        for progress in found:
            states = [cell.state.value for cell in progress.cells]
            counts = ", ".join(f"{states.count(state)} {state.lower()}" for state in dict.fromkeys(states))
            s = progress.submission
            counts = f"withdrawn: {counts}" if s.is_withdrawn else counts
            tags = " ".join(f"{name}={value}" for name, value in s.tags.items())
            rows.append(
                [s.id, f"{s.model_name}@{s.model_version}", s.user, age(s.created_at, now), counts, tags]
            )
        show_table(
            ["submission", "model", "user", "submitted", "cells", "tags"],
            rows,
            empty="Nothing was submitted yet.",
        )
        return
    progress = found[0]
    s = progress.submission
    withdrawn = "; withdrawn, what goes on is for others" if s.is_withdrawn else ""
    show_line(f"{s.id}: {s.model_name}@{s.model_version}, by {s.user}, {age(s.created_at, now)}{withdrawn}")
    show_table(
        ["device type", "toolchain", "precision", "job", "attempt>", "state", ""],
        [
            [
                cell.slug,
                str(cell.cell.spec.target.toolchain),
                precision_text(cell.cell.spec),
                cell.cell.job_id,
                cell.job.attempts if cell.job else None,
                cell.state.value.lower(),
                describe_state(cell),
            ]
            for cell in progress.cells
        ],
    )


@click.command(short_help="Follow a submission until it is done.")
@click.argument("submission", required=False)
@json_option
@click.pass_context
def watch(ctx: click.Context, submission: str | None, as_json: bool) -> None:
    """Follow SUBMISSION (by default the newest) until it is done; Ctrl-C leaves the work running.

    \b
    farm watch s-7k2m
    """
    from cli.waiting import wait_for
    from farm.domain.errors import NotFoundError

    farm = opened(ctx)
    with farm.database.reading() as transaction:
        newest = transaction.jobs.submissions(1)
        found = transaction.jobs.submission(submission) if submission else next(iter(newest), None)
    if found is None:
        raise NotFoundError("nothing was submitted yet", hint="`farm submit model.onnx`")
    ctx.exit(wait_for(farm, found, local=False, as_json=as_json))
