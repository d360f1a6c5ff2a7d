"""`farm history`: a model's measurements in time."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from cli.context import json_option, opened
from cli.render import decibel, ms, per_second, show_json, show_table
from farm.domain.errors import InvalidRequestError

if TYPE_CHECKING:
    from farm.domain.filing import HistoryEntry

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


@click.command(short_help="Show a model's measurements in time.")
@click.argument("model")
@click.option("--gpu", help="Only of this device type: h200, cpu, …")
@click.option("--toolchain", help="Only of this toolchain: tensorrt, tensorrt@8.6, …")
@click.option("--precision", help="Only of this precision.")
@click.option("--batch", type=click.IntRange(1), help="Only of this batch size.")
@click.option("--since", help="30d, 12h, 4w, or a date such as 2026-11-01.")
@click.option("--tainted", is_flag=True, help="Also runs that something disturbed.")
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
        begin = _begin(since, transaction.now()) if since else None
        entries = transaction.engines.history(name=name.name, since=begin, include_tainted=tainted)
    found = [
        entry
        for entry in entries
        if wanted.passes(entry.engine)
        and (batch is None or entry.measurement.batch == batch)
        and ("@" not in model or entry.model_version == name.version)
    ]
    if as_json:
        show_json([_as_json(entry, slugs[entry.engine.spec.target.device_type]) for entry in found])
        return
    show_table(
        [
            "measured",
            "version>",
            "device type",
            "toolchain",
            "driver",
            "precision",
            "batch>",
            "method",
            "median ms>",
            "p99 ms>",
            "latency ms>",
            "per second>",
            "SNR>",
        ],
        [
            (
                entry.run.started_at,
                entry.model_version,
                slugs[entry.engine.spec.target.device_type],
                str(entry.engine.spec.target.toolchain),
                entry.run.driver_version,
                entry.engine.spec.precision,
                entry.measurement.batch,
                str(entry.measurement.method),
                ms(entry.measurement.compute.median_ms),
                ms(entry.measurement.compute.p99_ms),
                ms(entry.measurement.latency.median_ms),
                per_second(entry.measurement.throughput_per_s),
                decibel(entry.run.accuracy.worst.snr_db) if entry.run.accuracy else None,
            )
            for entry in found
        ],
        empty=f"No measurement of {name.name} matches.",
    )


def _begin(since: str, now: datetime) -> datetime:
    """The moment that `--since` means.

    Raises:
        InvalidRequestError: it means none.
    """
    found = re.fullmatch(r"(\d+)([hdw])", since.strip())
    try:
        if found:
            return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
        moment = datetime.fromisoformat(since)
        return moment if moment.tzinfo else moment.astimezone()
    except (ValueError, OverflowError):
        raise InvalidRequestError(
            f"not a time: --since {since}", hint="Write 30d, 12h, 4w, or a date such as 2026-11-01."
        ) from None


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
        "taints": list(run.taints),
    }
