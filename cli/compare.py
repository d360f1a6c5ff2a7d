"""`farm compare`: how many times faster engines are than what a user would use instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cli.context import CommaSeparated, flattened, json_option, opened
from cli.engine_words import target_options
from cli.render import NONE, ms, show_json, show_note, show_table
from cli.report_cells import TAINTED
from farm.domain.baselines import baseline_of, parse_baselines
from farm.domain.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farm.domain.speedups import ComparedFigure, Speedup
    from farm.domain.targets import DeviceType


#: From so many times on nobody asks for more digits.
_MANY = 100


@click.command(short_help="Show how many times faster engines are than baselines.")
@click.argument("model")
@click.option(
    "--than",
    "words",
    multiple=True,
    type=CommaSeparated(),
    help="Baselines: torch-amp, ort-cpu, … [default: all that were measured]",
)
@target_options
@click.option("--batch", type=click.IntRange(1), help="Only of this batch size.")
@click.option("--method", help="Only timed in this way: plain, cuda-graph, plain-compute, …")
@click.option("--tainted", is_flag=True, help="Also figures that something disturbed.")
@json_option
@click.pass_context
def compare(
    ctx: click.Context,
    model: str,
    words: tuple[tuple[str, ...], ...],
    gpu: str | None,
    toolchain: str | None,
    precision: str | None,
    batch: int | None,
    method: str | None,
    tainted: bool,
    as_json: bool,
) -> None:
    """Show the figures of MODEL's engines beside its baselines (`farm submit --baseline`), measured on the same device.

    A ratio is the baseline's median of compute over the engine's: of the same batch and shapes, timed by the same
    method. What runs on CPUs alone is compared with engines on any device.

    \b
    farm compare resnet50
    farm compare resnet50 --gpu h200 --precision fp16 --than torch-amp
    farm compare resnet50 --than torch,ort-cpu --batch 8 --json
    """
    from cli.filters import read_filter
    from farm.domain.speedups import compare_with_baselines
    from farm.services.targets import slugs_of

    wanted = [baseline.word for baseline in parse_baselines(flattened(words))]
    with opened(ctx).database.reading() as transaction:
        name = transaction.models.named(model)
        slugs = slugs_of(transaction)
        passes = read_filter(transaction, gpu, toolchain, precision).passes
        engines = transaction.engines.engines(model_sha256=name.model_sha256)
    figures, there = compare_with_baselines(engines, wanted, with_tainted=tainted)
    missing = [word for word in wanted if word not in there]
    if not there:
        raise NotFoundError(
            f"no baseline{f' {missing[0]}' if missing else ''} of {name} has been measured",
            hint=f"`farm submit … --name {name.name} --baseline {missing[0] if missing else 'torch'}` measures it.",
        )
    shown = [
        figure
        for figure in figures
        if passes(figure.engine)
        and (batch is None or figure.measurement.batch == batch)
        and (method is None or str(figure.measurement.method) == method)
    ]
    if as_json:
        show_json([_document(figure, slugs, str(name)) for figure in shown])
        return
    show_table(
        ["device type", "engine>", "toolchain", "precision", "batch>", "method", "median ms>"]
        + [f"× {word}>" for word in there],
        [_row(figure, slugs, there) for figure in shown],
        empty=f"No figure of {name} matches."
        + ("" if tainted else " `--tainted` shows those that something disturbed."),
    )
    for word in missing:
        show_note(f"{word} of {name} has not been measured: add it to `farm submit … --baseline`")


def _row(figure: ComparedFigure, slugs: Mapping[DeviceType, str], words: Sequence[str]) -> list[Any]:
    spec, measurement = figure.engine.spec, figure.measurement
    own = baseline_of(spec)
    return [
        slugs[spec.target.device_type],
        figure.engine.id,
        str(spec.target.toolchain),
        spec.precision,
        measurement.batch,
        str(measurement.method),
        ms(measurement.compute.median_ms) + (TAINTED if measurement.taints else ""),
        *("1" if own and own.word == word else _times(figure.speedups.get(word)) for word in words),
    ]


def _times(speedup: Speedup | None) -> str:
    if speedup is None:
        return NONE
    return f"{speedup.times:,.0f}" if speedup.times >= _MANY else f"{speedup.times:.3g}"


def _document(figure: ComparedFigure, slugs: Mapping[DeviceType, str], model: str) -> dict[str, Any]:
    spec, measurement = figure.engine.spec, figure.measurement
    own = baseline_of(spec)
    return {
        "model": model,
        "engine": figure.engine.id,
        "device_type": slugs[spec.target.device_type],
        "toolchain": str(spec.target.toolchain),
        "precision": spec.precision,
        "baseline": own.word if own else None,
        "batch": measurement.batch,
        "shapes": {name: list(shape) for name, shape in measurement.shapes.items()},
        "method": str(measurement.method),
        "median_ms": measurement.compute.median_ms,
        "taints": list(measurement.taints),
        "times_faster_than": {
            word: {
                "times": speedup.times,
                "interval": list(speedup.interval) if speedup.interval else None,
                "engine": speedup.engine.id,
                "toolchain": str(speedup.engine.spec.target.toolchain),
                "device_type": slugs[speedup.engine.spec.target.device_type],
                "method": str(speedup.measurement.method),
                "median_ms": speedup.measurement.compute.median_ms,
            }
            for word, speedup in figure.speedups.items()
        },
    }
