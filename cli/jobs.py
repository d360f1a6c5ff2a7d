"""`farm logs`, `farm cancel`, `farm retry`: one job at a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from cli.context import json_option, opened
from cli.limits import limit_options, limits_as_wish, with_limits
from cli.render import show_json, show_line, show_note, show_text
from cli.submission import announce

if TYPE_CHECKING:
    from farm.bootstrap import Farm
    from farm.domain.work import Attempt, Job

_POLL_S = 0.5


@click.command(short_help="Show or follow the log of a job.")
@click.argument("job")
@click.option("-f", "--follow", is_flag=True, help="Keep reading until the job ends.")
@click.option("--attempt", type=click.IntRange(1), help="Of this attempt. [default: the newest]")
@json_option
@click.pass_context
def logs(ctx: click.Context, job: str, follow: bool, attempt: int | None, as_json: bool) -> None:
    """Show the log of JOB (its id or the id's beginning).

    \b
    farm logs j-7k2m9xq4tn
    farm logs j-7k2m9xq4tn -f
    """
    farm = opened(ctx)
    found, chosen = _attempt_of(farm, job, attempt)
    if as_json:
        text = "" if chosen is None else "".join(_kept(farm, chosen)) or _live(farm, chosen)
        show_json({"job": found.id, "attempt": chosen.number if chosen else None, "log": text})
        return
    if chosen is None and not follow:
        show_note(
            f"job {found.id} is {found.state.value.lower()}: no attempt has begun, so there is no log yet"
        )
        return
    if follow:
        _follow(farm, found.id, attempt)
        return
    assert chosen is not None  # noqa: S101 - returned above
    show_note(_headline(found, chosen))
    if attempt is None and chosen.number > 1:
        show_note(f"earlier attempts: `farm logs {found.id} --attempt N`, N from 1 to {chosen.number - 1}")
    _show_whole(farm, chosen)


@click.command(short_help="Stop a job, or what only this submission wants.")
@click.argument("job_or_submission")
@json_option
@click.pass_context
def cancel(ctx: click.Context, job_or_submission: str, as_json: bool) -> None:
    """Stop JOB_OR_SUBMISSION: a queued job at once, a running one within a heartbeat.

    Of a submission, jobs that another submission shares go on.

    \b
    farm cancel j-7k2m9xq4tn
    """
    from farm.services.cancel import cancel_submission

    farm = opened(ctx)
    with farm.database.transaction() as transaction:
        if job_or_submission.startswith("s-"):
            cancelled, kept = cancel_submission(transaction, job_or_submission)
        else:
            cancelled, kept = [transaction.jobs.request_cancel(job_or_submission)], []
    if as_json:
        show_json(
            {"cancelled": {job.id: job.state.value for job in cancelled}, "shared": [job.id for job in kept]}
        )
        return
    for job in cancelled:
        how = "cancelled" if job.state.is_terminal else "is asked to stop"
        show_line(f"job {job.id} {how}")
    for job in kept:
        show_line(f"job {job.id} goes on: another submission wants it too")
    if not cancelled and not kept:
        show_line("nothing of it was queued or running")


@click.command(short_help="Queue a failed or cancelled job again, or all that failed of a submission.")
@click.argument("job", required=False)
@click.option(
    "--failed", "submission", metavar="SUBMISSION", help="Every cell of this submission that failed."
)
@limit_options
@json_option
@click.pass_context
def retry(
    ctx: click.Context, /, job: str | None, submission: str | None, as_json: bool, **given: Any
) -> None:
    """Queue JOB again, as a new job in every submission that asked for it; with other limits, if you name some.

    \b
    farm retry j-7k2m9xq4tn
    farm retry --failed s-e54n4dn4ka --deadline build=2h
    """
    from cli.build_request import Wish
    from farm.services.retry import retry_failed, retry_job

    if (job is None) == (submission is None):
        raise click.UsageError("name a job, or a submission with --failed")
    wish = Wish().overridden_by(limits_as_wish(given))
    farm = opened(ctx)
    with farm.database.transaction() as transaction:
        if submission is None:
            assert job is not None  # noqa: S101 - one of the two is given
            fresh = {job: retry_job(transaction, job, lambda request: with_limits(request, wish))}
        else:
            fresh = retry_failed(transaction, submission, lambda request: with_limits(request, wish))
    announce(farm)
    if as_json and submission is None:
        (only,) = fresh.values()
        show_json({"job": only.id, "state": only.state.value})
    elif as_json:
        show_json({"retried": {old: new.id for old, new in fresh.items()}})
    elif submission is None:
        (only,) = fresh.values()
        show_line(f"queued again as {only.id}")
    else:
        for old, new in fresh.items():
            show_line(f"{old} is queued again as {new.id}")
        if not fresh:
            show_line(f"nothing of {submission} has failed")


def _attempt_of(farm: Farm, job_id: str, number: int | None) -> tuple[Job, Attempt | None]:
    from farm.domain.errors import NotFoundError

    with farm.database.reading() as transaction:
        job = transaction.jobs.get(job_id)
        attempts = transaction.jobs.attempts(job.id)
    if number is None:
        return job, attempts[-1] if attempts else None
    if number > len(attempts):
        raise NotFoundError(f"job {job.id} has had {len(attempts)} attempt(s), not {number}")
    return job, attempts[number - 1]


def _headline(job: Job, attempt: Attempt) -> str:
    return (
        f"job {job.id} · attempt {attempt.number} · {attempt.state_text} · "
        f"{job.target} · {job.spec.precision} · on {attempt.host}"
    )


def _kept(farm: Farm, attempt: Attempt) -> list[str]:
    if attempt.log is None:
        return []
    return [chunk.decode(errors="replace") for chunk in farm.store.chunks(attempt.log)]


def _live(farm: Farm, attempt: Attempt) -> str:
    with farm.database.reading() as transaction:
        return transaction.jobs.live_log(attempt)


def _show_whole(farm: Farm, attempt: Attempt) -> None:
    if attempt.log is None:
        show_text(_live(farm, attempt))
        return
    for chunk in farm.store.chunks(attempt.log):
        show_text(chunk.decode(errors="replace"))


def _follow(farm: Farm, job_id: str, number: int | None) -> None:
    shown: dict[int, int] = {}
    while True:
        job, attempt = _attempt_of(farm, job_id, number)
        if attempt is not None:
            if attempt.number not in shown:
                show_note(_headline(job, attempt))
            text = "".join(_kept(farm, attempt)) or _live(farm, attempt)
            show_text(text[shown.get(attempt.number, 0) :])
            shown[attempt.number] = max(len(text), shown.get(attempt.number, 0))
        if job.state.is_terminal or (number is not None and attempt is not None and attempt.finished_at):
            show_note(f"job {job.id} is {job.state.value.lower()}")
            return
        time.sleep(_POLL_S)
