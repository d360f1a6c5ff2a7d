"""A submission from the user's wish to the filed rows: checked first, then filed whole."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.context import flattened, opened, settings_of
from cli.limits import limits_as_wish, with_limits
from cli.render import show_note
from farm.domain.calibration import RANDOM
from farm.domain.digests import digest_of_file
from farm.domain.errors import InvalidSpecError
from farm.failpoints import reach

if TYPE_CHECKING:
    import click

    from cli.build_request import Wish
    from farm.bootstrap import Farm
    from farm.domain.models import Model
    from farm.domain.work import JobRequest, Submission
    from farm.services.plan import Plan


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
    samples: Path | None


def options_as_wish(given: dict[str, Any]) -> dict[str, Any]:
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
        "calibration": _calibration_word(given["calibration"]),
        "calibration_algorithm": given["calibration_algorithm"],
        "calibration_batch": given["calibration_batch"],
        "calibration_samples": given["calibration_samples"],
        "thresholds": dict(given["thresholds"]),
        "tags": dict(given["tags"]),
        "salt": given["salt"],
        "seed": given["seed"],
        "warmup_ms": given["warmup_ms"],
        "duration_ms": given["duration_ms"],
        **limits_as_wish(given),
    }
    for key in ("min_shapes", "opt_shapes", "max_shapes"):
        values[key] = parse_shapes(given[key]) if given[key] else None
    return values


def _calibration_word(given: Path | None) -> str | None:
    """The file of samples, or the word that asks for random ones."""
    return None if given is None else RANDOM if str(given) == RANDOM else str(given.absolute())


def prepare(ctx: click.Context, wish: Wish, *, skip_unsupported: bool) -> Prepared:
    """Checks a wish against the model, the farm and its toolchains; writes nothing.

    Raises:
        FarmError: something in it is wrong; nothing was queued.
    """
    from farm.services.plan import plan_builds
    from farm.storage.model_cache import ModelCache

    path = wish.model_path()
    model = ModelCache(settings_of(ctx).home / "models").read(path)
    inputs = Path(wish.values["inputs"]) if wish.values.get("inputs") else None
    if inputs is not None:
        _check_inputs(inputs, model)
    job = _job_request(wish)
    samples = wish.calibration_path()
    if samples is not None:
        _check_inputs(samples, model)
    calibration = wish.calibration(digest_of_file(samples) if samples is not None else None)
    build = wish.build_request(calibration, skip_unsupported=skip_unsupported)
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
    return Prepared(
        farm, model, path.parent, name, dict(wish.values.get("tags", {})), plan, job, inputs, samples
    )


def _job_request(wish: Wish) -> JobRequest:
    from farm.domain.accuracy import VerificationSpec
    from farm.domain.benchmarks import BenchmarkSpec
    from farm.domain.work import JobRequest

    timing = BenchmarkSpec()
    request = JobRequest(
        benchmark=BenchmarkSpec(
            warmup_ms=wish.number("warmup_ms", timing.warmup_ms),
            duration_ms=wish.number("duration_ms", timing.duration_ms),
        ),
        verification=VerificationSpec(seed=wish.number("seed", 0), thresholds=wish.thresholds()),
    )
    return with_limits(request, wish)


def _check_inputs(path: Path, model: Model) -> None:
    from workers.arrays import check_inputs, read_arrays

    check_inputs(read_arrays(path), model.inputs)


def _know_this_machine(farm: Farm) -> None:
    """An embedded farm that has never had a worker looks at its own machine, so that work can be queued."""
    if not farm.settings.is_embedded:
        return
    with farm.database.reading() as transaction:
        if transaction.fleet.known_targets():
            return
    from workers.machine import describe_machine

    show_note("looking at what this machine can build for …")
    describe_machine(farm)


def file_submission(request: Prepared, *, as_json: bool) -> Submission:
    """Keeps the model and the inputs, then files the submission in one transaction.

    Raises:
        FarmError: nothing was queued.
    """
    from farm.services.submit import SubmitOrder, keep_model, submit_plan

    farm, job = request.farm, request.job
    with farm.database.reading() as transaction:
        known = {name.name: name for name in transaction.models.names()}
    keep_model(farm.store, request.model, request.folder, (lambda _line: None) if as_json else show_note)
    if request.samples is not None:
        digest = farm.store.put_file(request.samples)
        if digest.sha256 not in {
            cell.spec.calibration.data_sha256 for cell in request.plan.cells if cell.spec.calibration
        }:
            raise InvalidSpecError(f"{request.samples} was changed while it was submitted", hint="Try again.")
        with farm.database.transaction() as transaction:
            transaction.engines.add_artifact(digest, "calibration")
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
    return submission


def announce(farm: Farm) -> None:
    """Wakes idle workers at once; without a broker the worker's own sweeper sees the new rows.

    What it speaks of is committed: that nobody could be woken is worth a note, and no failure of the command.
    """
    reach("after-insert")
    if farm.settings.is_embedded:
        return
    from farm.domain.errors import BrokerUnavailableError, DatabaseUnavailableError
    from farm.services.sweep import announce_due
    from workers.queues import CeleryQueue, new_celery_app

    try:
        announce_due(farm.database, CeleryQueue(new_celery_app(farm.settings), farm.settings.broker_url))
    except BrokerUnavailableError as error:
        show_note(f"{error.message}. {error.hint}")
    except DatabaseUnavailableError as error:
        show_note(
            f"{error.message}. What was submitted is safe: workers pick it up once the database is back."
        )
    reach("after-publish")
