"""The models of a layer-wise comparison, made by a child of the farm's own interpreter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.conversion.marking_request import MarkRequest
from workers.materials import chunk_shapes, chunk_values
from workers.workplace import ChildFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from farm.domain.models import Model
    from farm.domain.work import Job
    from workers.child_process import ChildOutcome
    from workers.workplace import Workplace

#: So many tensors one engine has as outputs: each engine is a build, and each output keeps layers from being fused.
_PER_MODEL = 64


def mark_layers_of(
    place: Workplace,
    job: Job,
    model: Model,
    folder: Path,
    *,
    model_path: Path,
    built_path: Path,
    reference: Path | None,
    run: Callable[[Mapping[str, Any]], ChildOutcome],
) -> Path | None:
    """The folder of the marked models; none where nobody asks, or nothing here runs the engine.

    Args:
        place: what the worker works with.
        job: to be done.
        model: of the job.
        folder: scratch folder of the attempt.
        model_path: the graph's file as it was submitted.
        built_path: what the toolchain builds: the same, or converted.
        reference: folder of inputs and reference outputs.
        run: runs a request in a child of the farm's own interpreter.

    Raises:
        ChildFailedError: the model can not be run with its tensors as outputs; the message says why.
        UnsupportedTargetError: there is no ONNX Runtime here.
    """
    if reference is None or not job.request.verification.layerwise:
        return None
    if job.spec.program:
        # What runs the PyTorch model has no layers of the ONNX graph.
        return None
    place.require_onnxruntime("a layer-wise comparison needs the reference of every layer")
    marked = folder / "layerwise"
    marked.mkdir()
    inputs = reference / "inputs.npz"
    request = MarkRequest(
        model_path,
        built_path,
        inputs,
        chunk_shapes(model, job, inputs),
        chunk_values(model, job, inputs),
        marked,
        _PER_MODEL,
    )
    outcome = run(request.as_json())
    if failure := outcome.what_failed:
        raise ChildFailedError(failure)
    return marked
