"""`farm submit`: the matrix of (target x precision), what is there already, and the rest queued."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.context import CommaSeparated, Pairs, flattened, json_option, opened, settings_of
from cli.render import show_json, show_line, show_note, show_table
from farm.domain.digests import digest_of_file
from farm.domain.errors import InvalidSpecError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cli.build_request import Wish
    from farm.bootstrap import Farm
    from farm.domain.models import Model
    from farm.domain.work import JobRequest, Submission
    from farm.services.plan import Plan

_WORDS = {
    "built": "built before: answered from the store",
    "shared": "shares a job that is already at it",
    "queued": "queued",
}


@click.command(short_help="Submit a model to be built for a fleet of targets.")
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("--name", help="What the model is called from now on. [default: the file's name]")
@click.option(
    "--spec", type=click.Path(path_type=Path), help="Read everything from a YAML file; options win over it."
)
@click.option("--save-spec", type=click.Path(path_type=Path), help="Write the same request to a YAML file.")
@click.option(
    "--gpu",
    "gpus",
    multiple=True,
    type=CommaSeparated(),
    help="h200, l4, sm89, cpu, all; repeatable. [default: all known]",
)
@click.option(
    "--toolchain",
    "toolchains",
    multiple=True,
    type=CommaSeparated(),
    help="tensorrt, tensorrt@8.6, all. [default: the newest of each]",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=CommaSeparated(),
    help="fp32, tf32, fp16, bf16. [default: fp32]",
)
@click.option("--min-shapes", "min_shapes", help="Smallest shapes: input:1x3x224x224,mask:1x224")
@click.option("--opt-shapes", "opt_shapes", help="The shapes to tune for.")
@click.option("--max-shapes", "max_shapes", help="Largest shapes.")
@click.option(
    "--batch",
    "batches",
    multiple=True,
    type=CommaSeparated(),
    help="Batch sizes to measure; without shapes they make the profile.",
)
@click.option(
    "--set",
    "options",
    multiple=True,
    type=Pairs(),
    help="A builder option, such as builder_optimization_level=4, or tensorrt:… for one toolchain.",
)
@click.option(
    "--inputs",
    type=click.Path(path_type=Path),
    help="Sample inputs (.npz, an array per input; `labels` for top-1). [default: seeded random]",
)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    type=Pairs(),
    help="min_cosine=0.999, min_snr_db=40, max_abs_error=…, min_top1_agreement=…",
)
@click.option("--tag", "tags", multiple=True, type=Pairs(), help="A word of your own: team=vision.")
@click.option("--salt", help="Any text: another one builds the same cells anew.")
@click.option("--max-attempts", type=int, help="How often a job may be tried. [default: 3]")
@click.option("--deadline", type=int, help="Seconds that one attempt may take. [default: 14400]")
@click.option(
    "--skip-unsupported",
    is_flag=True,
    help="Leave out cells that a toolchain can not do, instead of refusing.",
)
@click.option("--dry-run", is_flag=True, help="Show the plan and stop.")
@click.option("--wait", is_flag=True, help="Follow until everything is done.")
@click.option("--local", is_flag=True, help="Run a worker in this process until everything is done.")
@json_option
@click.pass_context
def submit(ctx: click.Context, /, **given: Any) -> None:
    """Submit MODEL to be built, verified and timed for every target and precision asked for.

    Says at once which cells are built already, which share a running job, and which no live worker can
    serve yet. What was acknowledged is never lost: Ctrl-C while waiting leaves the work running.

    \b
    farm submit resnet50.onnx --gpu h200 --gpu cpu --precision fp32,fp16 --batch 1,8,32 --wait
    farm submit model.onnx --min-shapes x:1x3x224x224 --opt-shapes x:8x3x224x224 --max-shapes x:32x3x224x224
    farm submit --spec build.yaml --local
    """
    from cli.build_request import Wish, read_wish, write_wish

    wish = (read_wish(given["spec"]) if given["spec"] else Wish()).overridden_by(_options(given))
    if given["save_spec"]:
        write_wish(wish, given["save_spec"])
        show_note(f"spec written to {given['save_spec']}")
    as_json = given["as_json"]
    request = _prepare(ctx, wish, skip_unsupported=given["skip_unsupported"])
    if given["dry_run"]:
        _show_plan(request, as_json=as_json)
        return
    waits = given["local"] or given["wait"]
    submission = _file(request, as_json=as_json, local=given["local"])
    _announce(request.farm)
    if as_json and not waits:
        # Who waits gets one document, at the end.
        from cli.tables import progress_as_json
        from farm.services.progress import submission_progress

        with request.farm.database.reading() as transaction:
            show_json(progress_as_json(submission_progress(transaction, submission.id)))
    if waits:
        from cli.waiting import wait_for

        ctx.exit(wait_for(request.farm, submission, local=given["local"], as_json=as_json))
    elif not as_json:
        show_line(f"\nFollow it with `farm watch {submission.id}`.")
        _warn_without_worker(request)


@dataclass(frozen=True)
class Prepared:
    """A checked request, nothing of it filed yet."""

    farm: Farm
    model: Model
    folder: Path
    name: str
    tags: dict[str, str]
    plan: Plan
    job: JobRequest
    inputs: Path | None


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """The command line's options under the names of a spec file."""
    from farm.domain.shapes import parse_shapes

    values: dict[str, Any] = {
        "model": str(given["model"].absolute()) if given["model"] else None,
        "name": given["name"],
        "gpu": flattened(given["gpus"]),
        "toolchain": flattened(given["toolchains"]),
        "precision": flattened(given["precisions"]),
        "batch": flattened(given["batches"]),
        "set": dict(given["options"]),
        "inputs": str(given["inputs"].absolute()) if given["inputs"] else None,
        "thresholds": dict(given["thresholds"]),
        "tags": dict(given["tags"]),
        "salt": given["salt"],
        "max_attempts": given["max_attempts"],
        "deadline_s": given["deadline"],
    }
    for key in ("min_shapes", "opt_shapes", "max_shapes"):
        values[key] = parse_shapes(given[key]) if given[key] else None
    return values


def _prepare(ctx: click.Context, wish: Wish, *, skip_unsupported: bool) -> Prepared:
    from farm.services.plan import plan_builds
    from farm.storage.onnx_files import read_model

    path = wish.model_path()
    model = read_model(path)
    inputs = Path(wish.values["inputs"]) if wish.values.get("inputs") else None
    if inputs is not None:
        _check_inputs(inputs, model)
    job = _job_request(wish)
    build = wish.build_request(skip_unsupported=skip_unsupported)
    farm = opened(ctx, create=settings_of(ctx).is_embedded)
    _know_this_machine(farm)
    with farm.database.reading() as transaction:
        plan = plan_builds(transaction, model, build)
    name = str(wish.values.get("name") or path.stem)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}", name):
        raise InvalidSpecError(
            f"not a name for a model: {name!r}",
            hint="Letters, digits, dots, dashes, underscores and slashes.",
        )
    return Prepared(farm, model, path.parent, name, dict(wish.values.get("tags", {})), plan, job, inputs)


def _job_request(wish: Wish) -> JobRequest:
    from farm.domain.accuracy import VerificationSpec
    from farm.domain.benchmarks import BenchmarkSpec
    from farm.domain.work import JobRequest

    usual, timing = JobRequest(), BenchmarkSpec()
    attempts = wish.number("max_attempts", usual.max_attempts)
    deadline_s = wish.number("deadline_s", usual.deadline_s)
    if attempts < 1 or deadline_s < 1:
        raise InvalidSpecError("a job needs at least one attempt and one second")
    return JobRequest(
        benchmark=BenchmarkSpec(
            warmup_ms=wish.number("warmup_ms", timing.warmup_ms),
            duration_ms=wish.number("duration_ms", timing.duration_ms),
        ),
        verification=VerificationSpec(seed=wish.number("seed", 0), thresholds=wish.thresholds()),
        max_attempts=attempts,
        deadline_s=deadline_s,
    )


def _check_inputs(path: Path, model: Model) -> None:
    from workers.child.arrays import check_inputs, read_arrays

    check_inputs(read_arrays(path), model.inputs)


def _know_this_machine(farm: Farm) -> None:
    """An embedded farm that has never had a worker looks at its own machine, so that work can be queued."""
    if not farm.settings.is_embedded:
        return
    with farm.database.reading() as transaction:
        if transaction.fleet.known_targets():
            return
    from workers.agent import describe_machine

    show_note("looking at what this machine can build for …")
    describe_machine(farm)


def _file(request: Prepared, *, as_json: bool, local: bool) -> Submission:
    from farm.services.submit import SubmitOrder, keep_model, submit_plan

    farm, job = request.farm, request.job
    known = {name.name: name for name in _names(farm)}
    keep_model(farm.store, request.model, request.folder, (lambda _line: None) if as_json else show_note)
    if request.inputs is not None:
        digest = farm.store.put_file(request.inputs)
        job = replace(job, verification=replace(job.verification, inputs_sha256=digest.sha256))
        with farm.database.transaction() as transaction:
            transaction.engines.add_artifact(digest, "inputs")
    order = SubmitOrder(request.name, farm.settings.user, request.tags, job)
    submission = submit_plan(farm.database, request.model, request.plan, order)
    before = known.get(request.name)
    if not as_json and before is not None and before.model_sha256 != request.model.digest.sha256:
        show_note(
            f"{request.name} was another model until now: this is version {submission.model_version} of the name"
        )
    if not as_json:
        _show_filed(request, submission, local=local)
    return submission


def _names(farm: Farm) -> list[Any]:
    with farm.database.reading() as transaction:
        return transaction.models.names()


def _announce(farm: Farm) -> None:
    """Wakes the workers at once; without a broker the worker's own sweeper sees the new rows."""
    if farm.settings.is_embedded:
        return
    from farm.domain.errors import BrokerUnavailableError
    from farm.services.sweep import announce_due
    from workers.queues import CeleryQueue, new_celery_app

    try:
        announce_due(farm.database, CeleryQueue(new_celery_app(farm.settings), farm.settings.broker_url))
    except BrokerUnavailableError as error:
        show_note(f"{error.message}. {error.hint}")


def _show_plan(request: Prepared, *, as_json: bool) -> None:
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


def _show_filed(request: Prepared, submission: Submission, *, local: bool) -> None:
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


def _warn_without_worker(request: Prepared) -> None:
    if any(cell.has_live_worker for cell in request.plan.cells):
        return
    how = (
        "`farm up` starts one here, or add --local."
        if request.farm.settings.is_embedded
        else "`farm worker` starts one."
    )
    show_note(f"No live worker serves any of these targets. {how}")
