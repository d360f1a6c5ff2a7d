"""How a planned or filed submission looks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cli.render import show_json, show_line, show_note, show_table
from farm.domain.digests import digest_of_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cli.submission import Prepared
    from farm.domain.work import Submission
    from farm.services.plan import Plan


_WORDS = {
    "built": "built before: answered from the store",
    "shared": "shares a job that is already at it",
    "queued": "queued",
}


def show_plan(request: Prepared, *, as_json: bool) -> None:
    """What a submission would find, cell by cell."""
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
            cell.spec.precision,
            cell.spec.digest.short,
            _what(disposition.value, has_engine=engine is not None, has_live_worker=cell.has_live_worker),
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
    rows = []
    for cell in submission.cells:
        what = _what(
            cell.disposition.value,
            has_engine=cell.engine_id is not None,
            has_live_worker=live[cell.spec.digest],
        )
        rows.append(
            [
                slugs[cell.spec.digest],
                str(cell.spec.target.toolchain),
                cell.spec.precision,
                cell.job_id if cell.disposition.value != "built" else "",
                what,
            ]
        )
    show_table(["device type", "toolchain", "precision", "job", ""], rows)
    _show_remarks(request.plan)
    _show_unmet_wishes(request, submission)


def _show_remarks(plan: Plan) -> None:
    from cli.tables import refusals

    for line in refusals(plan.refused):
        show_line(line)
    for note in plan.notes:
        show_line(f"note: {note}")


def _what(disposition: str, *, has_engine: bool, has_live_worker: bool) -> str:
    """What becomes of a cell, in a few words."""
    words = _WORDS[disposition]
    if disposition == "queued" and has_engine:
        words = "built before; queued to be measured as asked"
    if disposition != "built" and not has_live_worker:
        words += "; no live worker serves this target yet"
    return words


def _show_unmet_wishes(request: Prepared, submission: Submission) -> None:
    """A job that runs already does what it was given; whoever shares it and wants more is told."""
    wanted, lacking = request.job.verification.thresholds, []
    with request.farm.database.reading() as transaction:
        for cell in submission.cells:
            if cell.disposition.value == "shared":
                asked = transaction.jobs.get(cell.job_id).request
                if set(request.plan.batches) - set(asked.benchmark.batches):
                    lacking.append(f"{cell.job_id} measures batch {_joined(asked.benchmark.batches)} alone")
                if asked.verification.thresholds != wanted or (
                    request.inputs is not None
                    and asked.verification.inputs_sha256 != digest_of_file(request.inputs).sha256
                ):
                    lacking.append(f"{cell.job_id} verifies with other inputs or thresholds")
    for line in lacking:
        show_line(f"note: {line}; submit again when it is done for what is missing")


def _joined(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


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
