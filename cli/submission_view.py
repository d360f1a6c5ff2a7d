"""How a planned or filed submission looks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from cli.build_spread import precision_text
from cli.render import show_json, show_line, show_note, show_table
from farm.domain.digests import digest_of_file
from farm.domain.jobs import JobState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cli.submission import Prepared
    from farm.domain.work import Job, Submission
    from farm.services.plan import Plan

#: Cells with a row each.
_MOST_ROWS = 100
#: Jobs in one note.
_MOST_NAMED = 3
_WORDS = {
    "built": "built before: answered from the store",
    "shared": "shares a job that is already at it",
    "queued": "queued",
}


def show_plan(request: Prepared, *, as_json: bool) -> None:
    """What a submission would find, cell by cell."""
    from farm.services.filed_answers import needs_rebuilding
    from farm.services.submit import foresee

    plan, inputs = request.plan, request.inputs
    job = request.job
    if inputs is not None:
        job = replace(
            job, verification=replace(job.verification, inputs_sha256=digest_of_file(inputs).sha256)
        )
    with request.farm.database.reading() as transaction:
        foreseen = foresee(transaction, plan, job)
    if as_json:
        show_json(
            {
                "model": request.model.digest.sha256,
                "name": request.name,
                "batches": list(plan.batches),
                "cells": [
                    {
                        "device_type": cell.slug,
                        "toolchain": str(cell.spec.target.toolchain),
                        "precision": cell.spec.precision,
                        "key": cell.spec.digest.sha256,
                        "disposition": disposition.value,
                        "engine": engine.id if engine else None,
                        "has_live_worker": cell.has_live_worker,
                    }
                    for cell, (disposition, engine) in zip(plan.cells, foreseen, strict=True)
                ],
                "refused": [{"cell": cell, "reason": reason} for cell, reason in plan.refused],
                "notes": list(plan.notes),
            }
        )
        return
    rows = [
        [
            cell.slug,
            str(cell.spec.target.toolchain),
            precision_text(cell.spec),
            cell.spec.digest.short,
            _what(
                disposition.value,
                has_engine=engine is not None,
                has_live_worker=cell.has_live_worker,
                is_rebuilt=engine is not None and needs_rebuilding(engine, job),
            ),
        ]
        for cell, (disposition, engine) in zip(plan.cells, foreseen, strict=True)
    ]
    show_table(["device type", "toolchain", "precision", "key", ""], rows)
    _show_remarks(plan)
    show_line("Nothing was queued: this is a dry run.")


def show_filed(request: Prepared, submission: Submission, *, local: bool) -> None:
    """What a submission has found, cell by cell."""
    # With --local the worker comes next, in this process.
    live = {cell.spec.digest: local or cell.has_live_worker for cell in request.plan.cells}
    slugs = {cell.spec.digest: cell.slug for cell in request.plan.cells}
    show_line(
        f"{submission.id}: {submission.model_name}@{submission.model_version}, {len(submission.cells)} cell(s), "
        f"measured at batch {', '.join(map(str, request.plan.batches))}"
    )
    with request.farm.database.reading() as transaction:
        jobs = transaction.jobs.get_all([cell.job_id for cell in submission.cells if cell.job_id])
    anew = {job_id for job_id, job in jobs.items() if job.request.is_rebuild}
    what = [
        _what(
            cell.disposition.value,
            has_engine=cell.engine_id is not None,
            has_live_worker=live[cell.spec.digest],
            is_rebuilt=cell.job_id in anew,
        )
        for cell in submission.cells
    ]
    if len(submission.cells) > _MOST_ROWS:
        _show_in_short(submission, what)
    else:
        rows = [
            [
                slugs[cell.spec.digest],
                str(cell.spec.target.toolchain),
                precision_text(cell.spec),
                cell.job_id if cell.disposition.value != "built" else "",
                words,
            ]
            for cell, words in zip(submission.cells, what, strict=True)
        ]
        show_table(["device type", "toolchain", "precision", "job", ""], rows)
    _show_remarks(request.plan)
    _show_what_follows(request, submission)
    _show_what_is_not_rebuilt(request, jobs.values())


def _show_in_short(submission: Submission, what: Sequence[str]) -> None:
    """A large matrix by what becomes of its cells: nobody reads a thousand rows."""
    groups = Counter(
        (str(cell.spec.target.toolchain), cell.spec.precision, words)
        for cell, words in zip(submission.cells, what, strict=True)
    )
    rows = [[count, *group] for group, count in groups.items()]
    show_table(["device types>", "toolchain", "precision", ""], rows)
    show_line(f"`farm status {submission.id}` shows every cell.")


def _show_remarks(plan: Plan) -> None:
    from cli.tables import refusals

    for line in refusals(plan.refused):
        show_line(line)
    for note in plan.notes:
        show_line(f"note: {note}")


def _what(disposition: str, *, has_engine: bool, has_live_worker: bool, is_rebuilt: bool) -> str:
    """What becomes of a cell, in a few words."""
    words = _WORDS[disposition]
    if disposition == "queued" and has_engine and is_rebuilt:
        words = "built before; queued to be built anew"
    elif disposition == "queued" and has_engine:
        words = "built before; queued to be measured as asked"
    if disposition != "built" and not has_live_worker:
        words += "; no live worker serves this target yet"
    return words


def _show_what_follows(request: Prepared, submission: Submission) -> None:
    """A job that runs already does what it was given; whoever shares it and wants more is told."""
    with request.farm.database.reading() as transaction:
        follow_ups = transaction.jobs.follow_ups([submission.id])
    if follow_ups:
        ids = [follow_up.job_id for follow_up in follow_ups]
        shown = ", ".join(ids[:_MOST_NAMED]) + (
            f" and {len(ids) - _MOST_NAMED} more" if ids[_MOST_NAMED:] else ""
        )
        show_line(
            f"note: {shown} measures other batch sizes, or verifies with other inputs or thresholds; what you ask "
            "beyond it is measured as soon as the engine is filed"
        )


def _show_what_is_not_rebuilt(request: Prepared, jobs: Iterable[Job]) -> None:
    """A job that runs already builds as often as it was told to; whoever wants more is told."""
    wanted = request.job
    fewer = [
        job.id
        for job in jobs
        if job.state is JobState.RUNNING
        and (job.request.builds < wanted.builds or (wanted.is_rebuild and not job.request.is_rebuild))
    ]
    if fewer:
        show_line(
            f"note: {', '.join(fewer[:_MOST_NAMED])} runs already, and builds once or as often as it was told to; "
            "submit again when it has ended"
        )


def warn_without_worker(request: Prepared, submission: Submission) -> None:
    """Says how to follow the work, if there is any, and what it waits for if nobody is there to do it."""
    if all(cell.disposition.value == "built" for cell in submission.cells):
        return
    show_line(f"\nFollow it with `farm watch {submission.id}`.")
    if any(cell.has_live_worker for cell in request.plan.cells):
        return
    how = (
        "`farm up` starts one here, or add --local."
        if request.farm.settings.is_embedded
        else "`farm worker` starts one."
    )
    show_note(f"No live worker serves any of these targets. {how}")
