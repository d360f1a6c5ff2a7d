"""A report for programs: a document, and a table with a row for each figure."""

from __future__ import annotations

import csv
import io
from datetime import UTC
from typing import TYPE_CHECKING

from cli.interval_text import interval_percent
from cli.report_labels import labels_of, shared_remarks
from cli.report_pivots import runtime_s

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from farm.domain.accuracy import Accuracy
    from farm.domain.report import Figure, Line, ModelReport

#: What stands first in a cell of a spreadsheet and would be taken for a formula.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def document(reports: Sequence[ModelReport], samples: Sequence[int] = ()) -> list[dict[str, Any]]:
    """A document for every model."""
    return [_model(report, samples) for report in reports]


def csv_text(reports: Sequence[ModelReport], samples: Sequence[int] = ()) -> str:
    """A row for each figure; lists are joined by `; `, what is not there is an empty cell."""
    flat = [
        {"model": found["model"], "version": found["version"], **_flat(line), **_flat(figure)}
        for found in document(reports, samples)
        for line in found["lines"]
        # An engine that nobody timed has its row all the same.
        for figure in line["figures"] or [{}]
    ]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in flat)
    return text.getvalue()


def _model(report: ModelReport, samples: Sequence[int]) -> dict[str, Any]:
    labels = labels_of(report)
    return {
        "model": report.name.name,
        "version": report.name.version,
        "digest": report.name.model_sha256,
        "shared": shared_remarks(report),
        "never_run": [engine.id for engine in report.never_run],
        "lines": [_line(report, labels[line.key], line, samples) for line in report.lines],
    }


def _line(report: ModelReport, label: str, line: Line, samples: Sequence[int]) -> dict[str, Any]:
    engine, base = line.engine, report.base_of(line)
    figures = [
        {**_figure(figure, samples), "speed_up": report.speed_up(line, shape)}
        for shape, figure in line.figures.items()
    ]
    return {
        "label": label,
        "device_type": line.device,
        "toolchain": engine.spec.target.toolchain.name,
        "toolchain_version": engine.spec.target.toolchain.version,
        "precision": engine.spec.precision,
        "baseline": line.baseline.word if line.baseline else None,
        "engine": engine.id,
        "key": engine.spec.digest.sha256,
        "method": str(line.method),
        "build_s": engine.build_s,
        "size_bytes": engine.digest.size_bytes,
        "device_memory_bytes": engine.device_memory_bytes or None,
        "precision_note": engine.precision_note or None,
        "accuracy": _accuracy(line),
        "than_engine": base.engine.id if base else None,
        "tainted_left_out": line.left_out,
        "figures": figures,
    }


def _figure(figure: Figure, samples: Sequence[int]) -> dict[str, Any]:
    measurement, run = figure.measurement, figure.run
    return {
        "batch": measurement.batch,
        "shapes": {name: list(shape) for name, shape in measurement.shapes.items()},
        "median_ms": measurement.compute.median_ms,
        "interval_ms": list(measurement.interval_ms) if measurement.interval_ms else None,
        "interval_percent": interval_percent(measurement),
        "mean_ms": measurement.compute.mean_ms,
        "p99_ms": measurement.compute.p99_ms,
        "std_ms": measurement.compute.std_ms,
        "iterations": measurement.compute.count,
        "latency_ms": measurement.latency.median_ms if measurement.transfers else None,
        "throughput_per_s": measurement.throughput_per_s,
        "samples": {
            str(count): {"runtime_s": runtime_s(figure, count), "fps": count / runtime_s(figure, count)}
            for count in samples
        },
        "run": run.id,
        "measured_at": run.started_at.astimezone(UTC).isoformat(),
        "device": run.device_uuid,
        "host": run.host,
        "driver_version": run.driver_version or None,
        "conditions": dict(measurement.conditions),
        "taints": list(figure.taints),
    }


def _accuracy(line: Line) -> dict[str, Any] | None:
    run = line.accuracy_run
    accuracy: Accuracy | None = run.accuracy if run else None
    if run is None or accuracy is None:
        return None
    worst = accuracy.worst
    return {
        "output": worst.name,
        "snr_db": worst.snr_db,
        "cosine": worst.cosine,
        "max_abs_error": worst.max_abs_error,
        "top1_agreement": worst.top1_agreement,
        "label_top1": accuracy.label_top1,
        "reference_label_top1": accuracy.reference_label_top1,
        "samples": accuracy.samples,
        "reference": accuracy.reference,
        "run": run.id,
    }


def _flat(value: dict[str, Any]) -> dict[str, Any]:
    return dict(_leaves("", {name: each for name, each in value.items() if name != "figures"}))


def _leaves(prefix: str, value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, each in value.items():
        if isinstance(each, dict) and "median" in each:
            # Of clocks and the like the middle value; `--json` has all.
            yield f"{prefix}{name}", each["median"]
        elif isinstance(each, dict) and name != "shapes":
            yield from _leaves(f"{prefix}{name}_", each)
        # The inputs' shapes are as many as a model has inputs: one cell for all. Documents in lists are not for tables.
        elif not (isinstance(each, list) and any(isinstance(one, dict) for one in each)):
            yield f"{prefix}{name}", each


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return "; ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in value.items())
    if isinstance(value, (list, tuple)):
        return "; ".join(map(str, value))
    text = str(value)
    # A name that somebody chose must not run as a formula where the file is opened.
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULAS) else text
