"""A user's own metrics: their files in the folder of an attempt, and the child that runs them.

It is not the child that built the engine: what the user's code computes is in no key, so it must not touch what is
filed under one. It runs after that child has ended, and every file that is to be filed is unchanged afterwards.
"""

from __future__ import annotations

import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from farm.domain.errors import CorruptArtifactError
from workers.child.metrics_request import MetricsRequest
from workers.confinement import own_file, state_of
from workers.materials import place_read_only
from workers.workplace import ChildFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from farm.bootstrap import Farm
    from farm.domain.work import Job
    from workers.child.requests import AttemptRequest, AttemptResult
    from workers.child_process import ChildOutcome

#: The log goes on meanwhile.
_CHANGES = ("log.txt",)


def place_metrics(
    farm: Farm,
    job: Job,
    folder: Path,
    prepare: Callable[[str], None],
    insist: Callable[[Callable[[], Any]], Any],
) -> None:
    """Fetches the files of a job's metrics, verified, read-only.

    Raises:
        NotFoundError: the store has lost one.
        CorruptArtifactError: one was altered.
    """
    for metric, path in zip(job.request.verification.metrics, _paths(folder, job), strict=True):
        prepare("fetching a metric")
        place_read_only(farm, metric.sha256, path, insist)


def with_own_figures(
    job: Job,
    folder: Path,
    request: AttemptRequest,
    result: AttemptResult,
    prepare: Callable[[str], None],
    run: Callable[[Mapping[str, Any]], ChildOutcome],
) -> AttemptResult:
    """The result with the user's own figures in its accuracy, held against all thresholds.

    Args:
        job: that was done.
        folder: scratch folder of the attempt.
        request: what the child was asked that ran the engine.
        result: what it answered.
        prepare: says what goes on.
        run: runs a request in a child without the device.

    Raises:
        ChildFailedError: a metric failed.
        AccuracyError: a figure is beyond its threshold.
        CorruptArtifactError: a metric changed what is to be filed.
    """
    verification = job.request.verification
    if not verification.metrics or result.accuracy is None or request.actual_path is None:
        return result
    assert request.inputs_path is not None  # noqa: S101 - it was verified with them
    prepare("computing metrics")
    before = _files(folder)
    names = [metric.function for metric in verification.metrics]
    outcome = run(
        MetricsRequest(
            tuple(zip(names, _paths(folder, job), strict=True)),
            request.inputs_path,
            None if verification.has_outputs else request.reference_path,
            own_file(request.actual_path),
        ).as_json()
    )
    after = _files(folder)
    changed = sorted(name for name in before if after.get(name) != before[name])
    if changed:
        raise CorruptArtifactError(
            f"a metric changed {changed[0]}, so nothing of this attempt is filed",
            hint="A metric computes figures, and leaves files alone.",
        )
    if failure := outcome.what_failed:
        raise ChildFailedError(failure)
    accuracy = replace(result.accuracy, metrics=outcome.answer["metrics"])
    verification.thresholds.check(accuracy)
    return replace(result, accuracy=accuracy)


def _paths(folder: Path, job: Job) -> list[Path]:
    """Where the files are; each in a folder of its own, under the name that people know."""
    metrics = job.request.verification.metrics
    return [folder / "metrics" / metric.sha256[:12] / metric.source for metric in metrics]


def _files(folder: Path) -> dict[str, tuple[int, ...]]:
    """What tells every file of an attempt from a changed one; folders change as files are added."""
    return {
        name: state
        for name, state in state_of(folder).items()
        if stat.S_ISREG(state[1]) and not name.endswith(_CHANGES)
    }
