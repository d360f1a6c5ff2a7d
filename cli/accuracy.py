"""`farm accuracy`: how far an engine's outputs are from its reference, and how its errors are spread."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import click

from cli.context import json_option, opened
from cli.engine_words import find_engine, target_options
from cli.render import NONE, decibel, percent, show_json, show_line, show_table
from farm.domain.errors import CorruptArtifactError, NotFoundError
from farm.domain.layerwise import layerwise_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farm.bootstrap import Farm
    from farm.domain.accuracy import Accuracy, OutputAccuracy
    from farm.domain.filing import Engine, Run

_COLUMNS = (
    "output", "max abs>", "max rel>", "rel L2>", "cosine>", "SNR>", "PSNR>", "top-1>", "top-5>", "Dice>", "IoU>",
    "equal>", "worst at", "engine>", "reference>",
)  # fmt: skip
_ON_LABELS = (("top1", "top-1"), ("top5", "top-5"), ("dice", "Dice"), ("iou", "IoU"))
#: Characters of the longest bar.
_BAR = 40


@click.command(short_help="Show an engine's accuracy, output by output, and how its errors are spread.")
@click.argument("what", metavar="ENGINE")
@target_options
@json_option
@click.pass_context
def accuracy(
    ctx: click.Context,
    what: str,
    gpu: str | None,
    toolchain: str | None,
    precision: str | None,
    as_json: bool,
) -> None:
    """Show how far the outputs of ENGINE are from its reference, and how its errors are spread.

    ENGINE is a number or a digest of `farm engines`, a job, or a model's name.

    \b
    farm accuracy 12
    farm accuracy resnet50 --gpu h200 --precision int8 --json
    """
    farm = opened(ctx)
    with farm.database.reading() as transaction:
        named = find_engine(transaction, what, gpu, toolchain, precision)
    run = verified_run(named.engine)
    assert run.accuracy is not None  # noqa: S101 - chosen by it
    errors = read_errors(farm, run)
    if as_json:
        show_json(
            {
                "engine": named.engine.id,
                "model": named.model,
                "run": run.id,
                "started_at": run.started_at,
                "inputs_sha256": run.inputs_sha256 or None,
                "accuracy": run.accuracy.as_json(),
                "histogram": errors or None,
            }
        )
        return
    show_line(named.title)
    show_line(f"{run.accuracy.samples} sample(s) against {run.accuracy.reference}, run {run.id}")
    show_table(_COLUMNS, [_row(output) for output in run.accuracy.outputs])
    _show_rest(run.accuracy)
    _show_layers(errors.get("layers", ()))
    for output in errors.get("outputs", ()):
        _show_errors(output)


def verified_run(engine: Engine) -> Run:
    """The newest run of an engine that compared its outputs.

    Raises:
        NotFoundError: none did.
    """
    runs = [run for run in engine.own_runs if run.accuracy is not None]
    if not runs:
        raise NotFoundError(
            f"engine {engine.id} was not verified: {engine.unverified_reason or 'no run compared its outputs'}",
            hint="Submit it again with --inputs that have outputs/NAME, where it can be run.",
        )
    return runs[-1]


def read_errors(farm: Farm, run: Run) -> dict[str, Any]:
    """The histograms of errors of a run; empty where an earlier release filed it.

    Raises:
        CorruptArtifactError: they are none.
        StoreUnavailableError: the store is away.
    """
    if run.histogram is None:
        return {}
    try:
        document: dict[str, Any] = json.loads(b"".join(farm.store.chunks(run.histogram)))
    except ValueError as error:
        raise CorruptArtifactError(f"the histogram of run {run.id} is no JSON: {error}") from error
    return document


def _row(output: OutputAccuracy) -> Sequence[str]:
    odd = output.non_finite + output.same_non_finite
    return [
        output.name,
        f"{odd} not finite" if odd else _number(output.max_abs_error),
        _number(output.max_rel_error),
        _number(output.rel_l2_error),
        f"{output.cosine:.6f}",
        decibel(output.snr_db),
        decibel(output.psnr_db),
        percent(output.top1_agreement),
        percent(output.top5_agreement),
        _share(output.dice),
        _share(output.iou),
        percent(output.exact_match),
        str(list(output.worst_index)),
        f"{output.worst_actual:.6g}",
        f"{output.worst_expected:.6g}",
    ]


def _show_rest(accuracy: Accuracy) -> None:
    """What holds for the engine as a whole."""
    for name, words in _ON_LABELS:
        ours, theirs = (getattr(accuracy, f"{of}label_{name}") for of in ("", "reference_"))
        if ours is not None:
            show_line(f"{words} on the labels: {percent(ours)} (reference {percent(theirs)})")
    for name, value in accuracy.metrics.items():
        show_line(f"{name}: {value:.6g}")
    if accuracy.layerwise:
        show_line(layerwise_words(accuracy.layerwise))


def _show_layers(layers: Sequence[Mapping[str, Any]]) -> None:
    """Every layer that was compared, in the order of the graph."""
    if not layers:
        return
    show_line()
    rows = [
        [
            layer["node"],
            layer["operator"],
            f"{layer['non_finite']} not finite" if layer["non_finite"] else _number(layer["relative_error"]),
            _number(layer["max_abs_error"]),
            decibel(layer["snr_db"]),
        ]
        for layer in layers
    ]
    show_table(["layer", "operator", "rel L2>", "max abs>", "SNR>"], rows)


def _show_errors(output: Mapping[str, Any]) -> None:
    """The sizes of errors by decade, as bars."""
    sizes = output["size"]
    show_line()
    apart = f", {output['non_finite']} not finite" if output["non_finite"] else ""
    show_line(
        f"errors of {output['name']}: {output['elements']} elements, {output['equal']} equal to the last bit{apart}"
    )
    decades: dict[int, int] = {}
    for edge, count in zip(sizes["edges"], sizes["counts"], strict=False):
        if count and edge > 0:
            decade = math.floor(math.log10(edge))
            decades[decade] = decades.get(decade, 0) + count
    most = max(decades.values(), default=1)
    for decade in range(min(decades, default=0), max(decades, default=-1) + 1):
        count = decades.get(decade, 0)
        bar = "#" * math.ceil(_BAR * count / most)
        show_line(f"  1e{decade:+03d} {count:>10}  {bar}".rstrip())


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3g}"


def _share(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"
