"""`farm tune`: the fastest engine that is accurate enough, or the most accurate one that is fast enough."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.context import CommaSeparated, Pairs, json_option
from cli.limits import limit_options
from cli.render import NONE, decibel, ms, percent, show_json, show_line, show_note, show_table
from cli.sample_options import calibration_options, measuring_options, sample_options
from cli.shape_options import shape_options
from cli.submission import options_as_wish, prepare
from cli.target_options import toolchain_option
from farm.domain.errors import InvalidSpecError, NoEngineFitsError, UnsupportedTargetError
from farm.domain.precisions import PRECISIONS, canonical_precision

if TYPE_CHECKING:
    from cli.submission import Prepared
    from cli.tuning import Tuning
    from farm.domain.tuning import Demand, Trial


@click.command(short_help="Find the fastest engine that is accurate enough.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--name", help="What the model is called from now on. [default: after its file]")
@click.option("--gpu", "gpus", multiple=True, type=CommaSeparated(), help="One device type: h200, l4, cpu, …")
@toolchain_option
@click.option("--max-latency", help="Longest median compute time: 2ms, 500us.")
@click.option(
    "--min-accuracy",
    multiple=True,
    type=Pairs(),
    help="Least accuracy of every output: cosine=0.999, snr_db=40, top1=0.97; repeatable.",
)
@click.option(
    "--batch", type=click.IntRange(1), default=1, show_default=True, help="Timed at this batch size."
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=CommaSeparated(),
    help=f"Only among these: {', '.join(PRECISIONS)}. [default: all that the target supports]",
)
@shape_options
@click.option("--set", "options", multiple=True, type=Pairs(), help="A builder option, as for `farm submit`.")
@click.option(
    "--inputs",
    type=click.Path(path_type=Path),
    help="Sample inputs (a folder or list of images or arrays; .npz, an array per input; `labels` for top-1). "
    "[default: seeded random]",
)
@calibration_options
@sample_options
@measuring_options
@limit_options
@click.option("--local", is_flag=True, help="Run a worker in this process meanwhile.")
@json_option
@click.pass_context
def tune(ctx: click.Context, /, max_latency: str | None, min_accuracy: Any, batch: int, **given: Any) -> None:
    """Build MODEL in every precision that the target supports, and give the engine that meets the demand.

    With --min-accuracy the fastest of those that are accurate enough; with --max-latency alone the most accurate
    of those that are fast enough. Where a faster precision is not accurate enough, the layers that hurt most are
    kept in FP32. Every engine that is tried is filed: interrupted and started again, nothing is built twice.

    Exit code 0 if an engine meets the demand, 3 if none does.

    \b
    farm tune resnet50.onnx --gpu h200 --min-accuracy cosine=0.999 --calibration samples.npz --batch 8
    farm tune resnet50.onnx --gpu h200 --max-latency 2ms --batch 8
    """
    from cli.tuning import Tuning
    from cli.waiting import start_local_worker
    from farm.domain.tuning import Demand, best_of, parse_latency_ms, parse_least

    least = parse_least(dict(min_accuracy))
    demand = Demand(batch, None if max_latency is None else parse_latency_ms(max_latency), least)
    if demand.max_latency_ms is None and not least:
        raise InvalidSpecError(
            "nothing is asked of the engine", hint="Give --min-accuracy cosine=0.999, or --max-latency 2ms."
        )
    request = _prepared(ctx, demand, given)
    as_json = given["as_json"]
    tuning = Tuning(request, demand, local=given["local"], as_json=as_json)
    with ExitStack() as stack:
        if given["local"]:
            start_local_worker(request.farm, stack)
        try:
            tuning.run()
        except KeyboardInterrupt:
            show_note(
                "\nStopped. What was queued goes on when a worker runs; the same command goes on from there."
            )
            ctx.exit(130)
    best = best_of(tuning.trials.values(), demand)
    if as_json:
        show_json(_document(request, tuning, demand, best))
    else:
        _show(request, tuning, demand, best)
    ctx.exit(0 if best else NoEngineFitsError.exit_code)


def _prepared(ctx: click.Context, demand: Demand, given: dict[str, Any]) -> Prepared:
    """A checked request with a cell for every precision that the target supports."""
    from cli.build_request import Wish
    from farm.services.tune import LADDER

    words = [word for words in given["precisions"] for word in words]
    thresholds: tuple[tuple[str, float], ...] = ()
    if "cosine" in demand.least:
        # The farm's own limit must not hide what is accurate enough for this user.
        from farm.domain.thresholds import Thresholds

        thresholds = (("min_cosine", min(demand.least["cosine"], Thresholds().min_cosine)),)
    own = {
        **given,
        "batches": ((str(demand.batch),),),
        "precisions": (tuple(map(canonical_precision, words)) or LADDER,),
        "thresholds": thresholds,
    }
    wish = Wish().overridden_by(options_as_wish(own))
    request = prepare(ctx, wish, skip_unsupported=True)
    slugs = sorted({cell.slug for cell in request.plan.cells})
    if len(slugs) > 1:
        raise InvalidSpecError(
            f"engines are tuned for one device type, and these are {len(slugs)}: {', '.join(slugs[:5])}",
            hint=f"Name one: --gpu {slugs[0]}.",
        )
    _require_device(request)
    return request


def _require_device(request: Prepared) -> None:
    """Refuses what could be built and not measured.

    Raises:
        UnsupportedTargetError: the farm knows no device of the type.
    """
    wanted = {cell.spec.target.device_type for cell in request.plan.cells}
    with request.farm.database.reading() as transaction:
        known = {device.device_type for device in transaction.fleet.devices()}
    if request.farm.settings.is_embedded and not wanted & known:
        # Its first worker is still to come, on this machine.
        from workers.devices import discover_devices

        known |= {device.device_type for device in discover_devices()}
    if wanted and not wanted & known:
        slug = request.plan.cells[0].slug
        raise UnsupportedTargetError(
            f"no worker has a {slug}: engines for it can be built here and not measured, so nothing can be tuned",
            hint=f"Start a worker on one, or build without figures: farm submit … --gpu {slug}",
        )


def _show(request: Prepared, tuning: Tuning, demand: Demand, best: Trial | None) -> None:
    from cli.tables import refusals

    trials = sorted(
        tuning.trials.values(), key=lambda trial: (trial.median_ms is None, trial.median_ms or 0.0)
    )
    show_line()
    show_table(
        ["toolchain", "precision", "in FP32>", "engine>", f"median ms, batch {demand.batch}>", "cosine>", "SNR>",
         "top-1>", "meets", ""],
        [_row(trial, demand, best) for trial in trials],
    )  # fmt: skip
    for line in [*refusals(request.plan.refused), *(f"note: {note}" for note in tuning.notes)]:
        show_line(line)
    if best is None:
        closest = "no engine meets the demand"
        if not any(trial.is_measured for trial in trials):
            closest += ": none could be run and timed"
        show_line(closest)
        return
    candidate = best.candidate
    kept = f", {len(candidate.kept_layers)} layer(s) in FP32" if candidate.kept_layers else ""
    show_line(
        f"engine {best.engine_id}: {candidate.precision}{kept}, {ms(best.median_ms or 0.0)} ms at batch {demand.batch}"
    )
    if candidate.kept_layers:
        show_line(f"in FP32: {', '.join(candidate.kept_layers)}")
    # Whoever fetches without its number may get another one, which fits the machine as well.
    show_line(f"fetch it with: farm fetch {request.name} --engine {best.engine_id}")


def _row(trial: Trial, demand: Demand, best: Trial | None) -> list[Any]:
    return [
        trial.candidate.toolchain,
        trial.candidate.precision,
        len(trial.candidate.kept_layers) or "",
        trial.engine_id,
        NONE if trial.median_ms is None else ms(trial.median_ms),
        NONE if trial.cosine is None else f"{trial.cosine:.6f}",
        NONE if trial.snr_db is None else decibel(trial.snr_db),
        NONE if trial.top1 is None else percent(trial.top1),
        "yes" if trial.meets(demand) else "no",
        "chosen" if trial is best else trial.why_not,
    ]


def _document(request: Prepared, tuning: Tuning, demand: Demand, best: Trial | None) -> dict[str, Any]:
    return {
        "model": request.model.digest.sha256,
        "name": request.name,
        "demand": demand.as_json(),
        "met": best is not None,
        "best": None if best is None else _trial_as_json(best, demand),
        "frontier": [_trial_as_json(trial, demand) for trial in tuning.trials.values()],
        "left_out": [{"cell": cell, "reason": reason} for cell, reason in request.plan.refused],
        "notes": tuning.notes,
    }


def _trial_as_json(trial: Trial, demand: Demand) -> dict[str, Any]:
    return {
        "toolchain": trial.candidate.toolchain,
        "precision": trial.candidate.precision,
        "kept_layers": list(trial.candidate.kept_layers),
        "engine": trial.engine_id,
        "median_ms": trial.median_ms,
        "cosine": trial.cosine,
        "snr_db": trial.snr_db,
        "top1": trial.top1,
        "meets": trial.meets(demand),
        "why_not": trial.why_not or None,
    }
