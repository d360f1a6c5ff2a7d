"""`farm history`: a model's measurements in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cli.common_columns import without_common
from cli.context import json_option, opened
from cli.interval_text import interval_text
from cli.moments import begin_of
from cli.render import decibel, ms, per_second, show_json, show_line, show_table
from cli.report_cells import marked
from farm.domain.report import Figure

if TYPE_CHECKING:
    from farm.domain.filing import HistoryEntry

_COLUMNS = (
    "measured", "version>", "device type", "toolchain", "driver", "precision", "batch>", "method", "median ms>",
    "± %>", "p99 ms>", "latency ms>", "per second>", "SNR>", "taints",
)  # fmt: skip
_SHORT = 40
_MAY_GO = ("version", "device type", "toolchain", "driver", "method", "taints")


@click.command(short_help="Show a model's measurements in time.")
@click.argument("model")
@click.option("--gpu", help="Only of this device type: h200, cpu, …")
@click.option("--toolchain", help="Only of this toolchain: tensorrt, tensorrt@8.6, …")
@click.option("--precision", help="Only of this precision.")
@click.option("--batch", type=click.IntRange(1), help="Only of this batch size.")
@click.option("--since", help="30d, 12h, 4w, or a date such as 2026-11-01.")
@click.option("--tainted", is_flag=True, help="Also what something disturbed, with the reason.")
@json_option
@click.pass_context
def history(
    ctx: click.Context,
    model: str,
    gpu: str | None,
    toolchain: str | None,
    precision: str | None,
    batch: int | None,
    since: str | None,
    tainted: bool,
    as_json: bool,
) -> None:
    """Show the measurements of every version of MODEL, newest last.

    \b
    farm history resnet50 --gpu h200 --precision fp16 --since 30d
    """
    from cli.filters import read_filter
    from farm.services.targets import slugs_of

    with opened(ctx).database.reading() as transaction:
        name = transaction.models.named(model)
        slugs = slugs_of(transaction)
        wanted = read_filter(transaction, gpu, toolchain, precision)
        begin = begin_of(since, transaction.now()) if since else None
        entries = transaction.engines.history(name=name.name, since=begin, include_tainted=True)
    found = [
        entry
        for entry in entries
        if wanted.passes(entry.engine)
        and (batch is None or entry.measurement.batch == batch)
        and ("@" not in model or entry.model_version == name.version)
    ]
    whole = len(found)
    if not tainted:
        found = [entry for entry in found if not Figure(entry.run, entry.measurement).taints]
    if as_json:
        show_json([_as_json(entry, slugs[entry.engine.spec.target.device_type]) for entry in found])
        return
    said, columns, rows = without_common(
        _COLUMNS, [_row(entry, slugs[entry.engine.spec.target.device_type]) for entry in found], _MAY_GO
    )
    if said:
        show_line(said)
    hidden = whole - len(found)
    left_out = (
        f"{hidden} that something disturbed {'is' if hidden == 1 else 'are'} left out: --tainted shows them."
    )
    if rows or not hidden:
        show_table(columns, rows, empty=f"No measurement of {name.name} matches.")
    if hidden:
        show_line(left_out if rows else f"No undisturbed measurement of {name.name} matches; {left_out}")


def _row(entry: HistoryEntry, slug: str) -> list[Any]:
    engine, run, measurement = entry.engine, entry.run, entry.measurement
    figure = Figure(run, measurement)
    return [
        run.started_at,
        entry.model_version,
        slug,
        str(engine.spec.target.toolchain),
        run.driver_version,
        engine.spec.precision,
        measurement.batch,
        str(measurement.method),
        marked(ms(measurement.compute.median_ms), figure),
        interval_text(measurement),
        ms(measurement.compute.p99_ms),
        # Without transfers there is no such thing as a latency with them.
        ms(measurement.latency.median_ms if measurement.transfers else None),
        per_second(measurement.throughput_per_s),
        decibel(run.accuracy.worst.snr_db) if run.accuracy else None,
        "; ".join(map(_short, figure.taints)) or None,
    ]


def _short(taint: str) -> str:
    """A reason without its details where those would fill the screen; `--json` has them."""
    return taint if len(taint) <= _SHORT else taint.partition(":")[0]


def _as_json(entry: HistoryEntry, slug: str) -> dict[str, object]:
    engine, run = entry.engine, entry.run
    return {
        "model": entry.model_name,
        "version": entry.model_version,
        "measured_at": run.started_at,
        "device_type": slug,
        "device": run.device_uuid,
        "driver_version": run.driver_version or None,
        "host": run.host,
        "toolchain": str(engine.spec.target.toolchain),
        "precision": engine.spec.precision,
        "engine": engine.id,
        "key": engine.spec.digest.sha256,
        "run": run.id,
        **entry.measurement.as_json(),
        "accuracy": run.accuracy.as_json() if run.accuracy else None,
        "samples": str(run.samples) if run.samples else None,
        "taints": list(Figure(run, entry.measurement).taints),
    }
