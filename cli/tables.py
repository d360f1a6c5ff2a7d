"""How engines, measurements and cells look as rows and as documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.accuracy_cells import accuracy_cells
from cli.build_spread import spread_text
from cli.interval_text import interval_text
from cli.render import NONE, ms, per_second, seconds, size
from cli.report_cells import TAINTED
from farm.domain.jobs import JobState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farm.domain.benchmarks import Measurement
    from farm.domain.filing import Engine, Run
    from farm.domain.targets import DeviceType
    from farm.services.progress import CellProgress, SubmissionProgress

ENGINE_COLUMNS = (
    "device type",
    "toolchain",
    "precision",
    "size>",
    "build>",
    "batch>",
    "median ms>",
    "± %>",
    "p99 ms>",
    "per second>",
    "method",
    "SNR>",
    "cosine>",
    "top-1>",
)


def engine_rows(engine: Engine, slugs: Mapping[DeviceType, str]) -> list[list[Any]]:
    """A row per measured batch size, each with its newest clean figures."""
    spec, run = engine.spec, engine.latest_run
    head = [slugs[spec.target.device_type], str(spec.target.toolchain), spec.precision]
    facts = [size(engine.digest.size_bytes), seconds(engine.build_s)]
    accuracy = _accuracy_cells(run, engine)
    measurements = preferred_measurements(engine)
    if not measurements:
        return [[*head, *facts, *[NONE] * 6, *accuracy]]
    rows = []
    for position, measurement in enumerate(measurements):
        first = position == 0
        rows.append(
            [
                *(head if first else ["", "", ""]),
                *(facts if first else ["", ""]),
                measurement.batch,
                _marked(ms(measurement.compute.median_ms), measurement, run),
                interval_text(measurement),
                ms(measurement.compute.p99_ms),
                per_second(measurement.throughput_per_s),
                str(measurement.method),
                *(accuracy if first else ["", "", ""]),
            ]
        )
    return rows


def tainted_note(rows: Sequence[Sequence[Any]]) -> str:
    """What the mark beside figures means; empty where there is none."""
    if not any(TAINTED in str(cell) for row in rows for cell in row):
        return ""
    return f"{TAINTED} tainted, and nothing better is known: `farm history MODEL --tainted` says why."


def preferred_measurements(engine: Engine) -> list[Measurement]:
    """One per shape: the first by `Method.rank`, such as one from a CUDA graph, since that is steadier."""
    best: dict[tuple[int, str], Measurement] = {}
    for measurement in engine.measurements:
        key = (measurement.batch, str(sorted(measurement.shapes.items())))
        if key not in best or measurement.method.rank > best[key].method.rank:
            best[key] = measurement
    return sorted(best.values(), key=lambda m: m.batch)


def engine_as_json(engine: Engine, slugs: Mapping[DeviceType, str]) -> dict[str, Any]:
    """An engine as a document, every component of its key included."""
    run = engine.latest_run
    return {
        "id": engine.id,
        "key": engine.spec.digest.sha256,
        "spec": engine.spec.as_json(),
        "device_type": slugs[engine.spec.target.device_type],
        "toolchain": str(engine.spec.target.toolchain),
        "precision": engine.spec.precision,
        "precision_note": engine.precision_note,
        "digest": str(engine.digest),
        "size_bytes": engine.digest.size_bytes,
        "build_s": engine.build_s,
        "device_memory_bytes": engine.device_memory_bytes or None,
        "layers": engine.layers or None,
        "verified": engine.is_verified,
        "unverified_reason": engine.unverified_reason or None,
        "accuracy": run.accuracy.as_json() if run and run.accuracy else None,
        "error_histogram": run.histogram.sha256 if run and run.histogram else None,
        "measurements": [m.as_json() for m in engine.measurements],
        "startup": dict(run.startup) if run and run.startup else None,
        "builds": engine.builds or None,
        "rebuild": engine.details.get("rebuild"),
        "job": engine.job_id,
        "created_at": engine.created_at,
        "pinned_at": engine.pinned_at,
        "pin_reason": engine.pin_reason or None,
    }


def progress_as_json(progress: SubmissionProgress) -> dict[str, Any]:
    """A submission as a document."""
    submission = progress.submission
    return {
        "id": submission.id,
        "model": submission.model_name,
        "version": submission.model_version,
        "user": submission.user,
        "created_at": submission.created_at,
        "withdrawn": submission.is_withdrawn,
        "tags": dict(submission.tags),
        "done": progress.is_done,
        "successful": progress.is_successful,
        "cells": [cell_as_json(cell) for cell in progress.cells],
    }


def cell_as_json(cell: CellProgress) -> dict[str, Any]:
    """A cell as a document."""
    job, attempt = cell.job, cell.attempt
    return {
        "device_type": cell.slug,
        "toolchain": str(cell.cell.spec.target.toolchain),
        "precision": cell.cell.spec.precision,
        "key": cell.cell.spec.digest.sha256,
        "disposition": cell.cell.disposition.value,
        "state": cell.state.value,
        "job": cell.cell.job_id or None,
        "engine": cell.engine.id if cell.engine else None,
        "has_live_worker": cell.has_live_worker,
        "then_measures": list(cell.beyond.benchmark.batches) if cell.beyond else None,
        "attempts": job.attempts if job else 0,
        "phase": attempt.phase if attempt and cell.state is JobState.RUNNING else None,
        "fraction": attempt.fraction if attempt and cell.state is JobState.RUNNING else None,
        "failure": {
            "class": job.failure.failure_class.value,
            "code": job.failure.code,
            "message": job.failure.message,
            "hint": job.failure.hint,
            "phase": job.failure.phase,
        }
        if job and job.failure and cell.state is not JobState.SUCCEEDED
        else None,
    }


def refusals(refused: Sequence[tuple[str, str]]) -> list[str]:
    """A line per reason why cells are left out, with all the cells that it holds for."""
    devices: dict[tuple[str, str], list[str]] = {}
    for cell, reason in refused:
        slug, _, rest = cell.partition(" · ")
        devices.setdefault((rest, reason), []).append(slug)
    return [f"left out: {', '.join(slugs)} · {rest}: {reason}" for (rest, reason), slugs in devices.items()]


def describe_state(cell: CellProgress) -> str:
    """What is going on in a cell, in a few words."""
    job, attempt = cell.job, cell.attempt
    if job is None:
        return "built before"
    if cell.state is JobState.RUNNING and attempt is not None:
        share = f" {100 * attempt.fraction:.0f} %" if attempt.fraction is not None else ""
        words = f"{attempt.phase or 'starting'}{share}"
        if cell.beyond:
            words += f", then to be measured at batch {', '.join(map(str, cell.beyond.benchmark.batches))}"
        return f"{words}: {attempt.message}" if attempt.message else words
    if cell.state is JobState.QUEUED:
        if job.failure is not None:
            return f"will be tried again after: {job.failure.message}"
        return "waiting" if cell.has_live_worker else "waiting: no live worker serves this target"
    if job.failure is not None and cell.state is not JobState.SUCCEEDED:
        return job.failure.message
    return spread_text(cell.engine) if cell.engine and cell.state is JobState.SUCCEEDED else ""


def _accuracy_cells(run: Run | None, engine: Engine) -> Sequence[str]:
    if run is None or run.accuracy is None:
        return ["unverified" if not engine.is_verified else NONE, NONE, NONE]
    return accuracy_cells(run.accuracy)


def _marked(text: str, measurement: Measurement, latest: Run | None) -> str:
    """The text of a figure, with a mark if something disturbed it: itself, or all runs of the engine."""
    is_clean = not measurement.taints and (latest is None or latest.is_clean)
    return text if is_clean else f"{text} {TAINTED}"
