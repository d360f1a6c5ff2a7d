"""Whether an engine that is filed answers what is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.errors import AccuracyError, InvalidRequestError
from farm.domain.methods import Method
from farm.domain.targets import DeviceKind

if TYPE_CHECKING:
    from farm.domain.filing import Engine, Run
    from farm.domain.work import JobRequest


def needs_rebuilding(engine: Engine, request: JobRequest) -> bool:
    """Whether a filed engine is to give way to a new one: somebody says so, or wants it chosen from more builds.

    Raises:
        InvalidRequestError: it is pinned, so it stays.
    """
    if not request.is_rebuild and request.builds <= max(len(engine.builds), 1):
        return False
    if engine.pinned_at is not None:
        why = f" ({engine.pin_reason})" if engine.pin_reason else ""
        raise InvalidRequestError(
            f"engine {engine.id} is pinned{why}: it is not built anew",
            hint="The operator lets it go with `farm unpin`; another --salt builds the cell beside it.",
        )
    return True


def needs_measuring(engine: Engine, request: JobRequest) -> bool:
    """Whether a filed engine lacks figures that the request asks for."""
    verifies = request.verification.has_outputs and engine.spec.target.device_type.kind is DeviceKind.GPU
    if not (engine.was_run or verifies):
        # Nothing here can run it, so there is nothing to measure with.
        return False
    if set(request.benchmark.batches) - engine.measured_batches() or _lacks_methods(engine, request):
        return True
    if not (engine.is_verified or verifies):
        # It was measured, and nothing says what it is to compute.
        return False
    wanted = request.verification.inputs_sha256
    beyond = request.verification.beyond_inputs
    runs = [
        run
        for run in engine.own_runs
        if run.accuracy is not None
        and wanted in ("", run.inputs_sha256)
        and (not beyond or beyond == run.verified_with)
    ]
    # The newest on these inputs; another limit than it was built with is checked by verifying once more.
    return not (runs and _passes(runs[-1], request))


def _lacks_methods(engine: Engine, request: JobRequest) -> bool:
    """Whether somebody asks for methods by which no run has measured a batch.

    Who does not name any takes the figures that are there, also those of releases that knew fewer methods.
    """
    spec = request.benchmark
    if spec.is_usual:
        return False
    wanted = set(spec.methods)
    if engine.spec.target.device_type.kind is not DeviceKind.GPU:
        # A CPU has no other ways, so there they all come to these.
        wanted = {Method(streams=method.streams) for method in wanted}
    return bool({(batch, method) for batch in spec.batches for method in wanted} - engine.measured_ways())


def _passes(run: Run, request: JobRequest) -> bool:
    assert run.accuracy is not None  # noqa: S101 - chosen by it
    if request.verification.thresholds.lacks_figures(run.accuracy):
        return False
    try:
        request.verification.thresholds.check(run.accuracy)
    except AccuracyError:
        return False
    return True
