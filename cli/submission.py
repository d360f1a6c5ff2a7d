"""A submission from the user's wish to the filed rows: checked first, then filed whole."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cli.baseline_options import baselines_of, keep_program, program_of
from cli.benchmark_options import benchmark_as_wish, benchmark_of
from cli.context import flattened, opened, settings_of
from cli.first_look import know_this_machine
from cli.freezing import freeze
from cli.limits import limits_as_wish, with_limits
from cli.model_name import model_name
from cli.networks import network_document
from cli.render import show_note
from cli.sample_options import make_samples, samples_as_wish
from cli.shape_options import inputs_with_ranges, keep_plugins, plugin_paths, shapes_as_wish
from cli.sources import sources_as_wish, with_exported_model
from cli.tensor_limits import without_large_tensors
from cli.user_metrics import keep_metrics, metric_paths
from cli.verification_options import verification_as_wish, verification_of
from cli.verification_samples import first_samples
from farm.domain.calibration import RANDOM
from farm.domain.digests import digest_of_file
from farm.domain.errors import InvalidSpecError
from farm.failpoints import reach

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

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
    graph: Path | None = None
    plugins: tuple[Path, ...] = ()
    made_samples: Mapping[str, Any] = field(default_factory=dict)
    program: Path | None = None
    metrics: tuple[Path, ...] = ()


class _Said(dict[str, Any]):
    """Options of a command; one that it does not have was not said."""

    def __missing__(self, _name: str) -> None:
        """Nothing."""


def options_as_wish(options: dict[str, Any]) -> dict[str, Any]:
    """A command line's options under the names of a spec file; a command need not have them all."""
    given = _Said(options)
    values: dict[str, Any] = {
        "model": str(given["model"].absolute()) if given["model"] else None,
        "weights": str(given["weights"].absolute()) if given["weights"] else None,
        "declared_inputs": flattened(given["declared_inputs"] or ()),
        "declared_outputs": flattened(given["declared_outputs"] or ()),
        "name": given["name"],
        "gpu": flattened(given["gpus"]),
        "toolchain": flattened(given["toolchains"]),
        "precision": flattened(given["precisions"]),
        "batch": flattened(given["batches"]),
        "baseline": flattened(given["baselines"] or ()),
        "keep_fp32": flattened(given["keep_fp32"] or ()),
        "set": dict(given["options"]),
        "inputs": str(given["inputs"].absolute()) if given["inputs"] else None,
        "calibration": _calibration_word(given["calibration"]),
        "calibration_algorithm": given["calibration_algorithm"],
        "calibration_batch": given["calibration_batch"],
        "calibration_samples": given["calibration_samples"],
        "thresholds": dict(given["thresholds"]),
        "tags": dict(given["tags"] or ()),
        "salt": given["salt"],
        "seed": given["seed"],
        "builds": given["builds"],
        # For this once: a spec file that asks for it would build anew each time.
        "rebuild": given["rebuild"] or None,
        "refit": given["refit"] or None,
        **sources_as_wish(given),
        **shapes_as_wish(given),
        **samples_as_wish(given),
        **limits_as_wish(given),
        **verification_as_wish(given),
        **benchmark_as_wish(given),
    }
    return values


def _calibration_word(given: Path | None) -> str | None:
    """The file of samples, or the word that asks for random ones."""
    return None if given is None else RANDOM if str(given) == RANDOM else str(given.absolute())


def prepare(ctx: click.Context, wish: Wish, *, skip_unsupported: bool) -> Prepared:
    """Checks a wish against the model, the farm and its toolchains; writes nothing.

    Raises:
        FarmError: something in it is wrong; nothing was queued.
    """
    from farm.services.baselines import engine_options, with_baselines
    from farm.services.plan import plan_builds
    from farm.services.refits import with_refits
    from farm.storage.model_cache import ModelCache

    wish = with_exported_model(ctx, wish)
    path = network_document(ctx, wish) or wish.model_path()
    whole = ModelCache(settings_of(ctx).home / "models").read(path)
    model, graph, frozen = freeze(ctx, path, whole, wish.values.get("static", {}))
    made = make_samples(ctx, wish, model)
    inputs, samples = made.paths.get("inputs"), made.paths.get("calibration")
    held = inputs_with_ranges(wish.values)
    has_outputs = inputs is not None and "inputs" in made.ready and _check_inputs(inputs, model, held)
    job = _job_request(wish, settings_of(ctx).user)
    verification = verification_of(wish, model, graph or path, has_outputs=has_outputs)
    job = replace(job, verification=verification)
    if samples is not None and "calibration" in made.ready:
        _check_inputs(samples, model, held)
    calibration = wish.calibration(digest_of_file(samples) if samples is not None else None)
    program, sha256, format_ = program_of(wish.values)
    build = wish.build_request(calibration, skip_unsupported=skip_unsupported)
    farm = opened(ctx, create=settings_of(ctx).is_embedded)
    know_this_machine(farm)
    with farm.database.reading() as transaction:
        plan = plan_builds(transaction, model, replace(build, options=engine_options(build.options)))
        if wish.values.get("refit"):
            plan = with_refits(transaction, model, plan)
        if baselines := baselines_of(wish):
            asked = replace(build, program=sha256, program_format=format_)
            plan = with_baselines(transaction, model, asked, plan, baselines)
    plan = without_large_tensors(path, model, plan, skip_unsupported=skip_unsupported)
    plan = replace(plan, notes=(*filter(None, [frozen]), *plan.notes))
    if samples is not None and not any(cell.spec.calibration for cell in plan.cells):
        show_note("no cell is in 8 bits, so the calibration data is not used")
        samples = None
    if inputs is None and samples is not None:
        inputs = first_samples(ctx, samples, model)
    return Prepared(
        farm,
        model,
        path.parent,
        model_name(wish, whole, model),
        dict(wish.values.get("tags", {})),
        plan,
        job,
        inputs,
        samples,
        graph,
        plugin_paths(wish.values),
        made.record,
        program,
        metric_paths(wish.values),
    )


def _job_request(wish: Wish, user: str) -> JobRequest:
    from farm.domain.work import JobRequest

    request = JobRequest(
        benchmark=benchmark_of(wish),
        builds=wish.number("builds", 1),
        rebuild_by=user if wish.values.get("rebuild") else "",
    )
    return with_limits(request, wish)


def _check_inputs(path: Path, model: Model, held: Collection[str]) -> bool:
    """Whether a file of inputs that fit says what is to be computed for them too.

    Static inputs among `held` may be left out: they have values from the optimization profile.
    """
    from workers.arrays import check_golden, check_inputs, read_arrays

    arrays = read_arrays(path)
    wanted = [t for t in model.inputs if t.name in arrays or t.is_dynamic or t.name not in held]
    check_inputs(arrays, wanted)
    return check_golden(arrays, model.inputs, model.outputs)


def file_submission(request: Prepared, *, as_json: bool) -> Submission:
    """Keeps the model and the inputs, then files the submission in one transaction.

    Raises:
        FarmError: nothing was queued.
    """
    from farm.services.submit import SubmitOrder, keep_model, submit_plan

    farm, job = request.farm, request.job
    with farm.database.reading() as transaction:
        known = {name.name: name for name in transaction.models.names()}
    tell = (lambda _line: None) if as_json else show_note
    keep_model(farm.store, request.model, request.folder, tell, graph=request.graph)
    if request.plugins:
        keep_plugins(farm.database, farm.store, request.plugins, request.plan.cells[0].spec.plugins)
    if request.program is not None:
        keep_program(farm, request.program)
    if request.samples is not None:
        digest = farm.store.put_file(request.samples)
        if digest.sha256 not in {
            cell.spec.calibration.data_sha256 for cell in request.plan.cells if cell.spec.calibration
        }:
            raise InvalidSpecError(f"{request.samples} was changed while it was submitted", hint="Try again.")
        with farm.database.transaction() as transaction:
            transaction.engines.add_artifact(digest, "calibration")
    keep_metrics(farm, request.metrics, job.verification.metrics)
    if request.inputs is not None:
        digest = farm.store.put_file(request.inputs)
        job = replace(job, verification=replace(job.verification, inputs_sha256=digest.sha256))
        with farm.database.transaction() as transaction:
            transaction.engines.add_artifact(digest, "inputs")
    order = SubmitOrder(request.name, farm.settings.user, request.tags, job, request.made_samples)
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
