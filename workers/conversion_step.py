"""The model of a cell in the types that its precision asks for, where the builder has no flags for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from farm.domain.conversion import conversion_of
from farm.domain.profile_shapes import first_profile
from workers.conversion.request import ConversionRequest, conversion_request_as_json
from workers.workplace import ChildFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from farm.domain.models import Model
    from farm.domain.work import Job
    from workers.child_process import ChildOutcome
    from workers.toolchains.toolchain import CalibrationInput
    from workers.workplace import Workplace


class Converted(NamedTuple):
    """A model that is ready to be built, and how it got its types; an empty note for one as it was submitted."""

    model_path: Path
    note: str = ""
    details: Mapping[str, Any] = {}


def convert(
    place: Workplace,
    job: Job,
    model: Model,
    folder: Path,
    *,
    model_path: Path,
    calibration: CalibrationInput | None,
    is_compared: bool,
    run: Callable[[Mapping[str, Any]], ChildOutcome],
) -> Converted:
    """The model that the toolchain is to build.

    Args:
        place: what the worker works with.
        job: to be done.
        model: of the job.
        folder: scratch folder of the attempt.
        model_path: the graph's file in it.
        calibration: what ranges are found with; none if nothing is calibrated.
        is_compared: whether to compare the converted model on the CPU, since nothing here runs its engine.
        run: runs a request in a child of the farm's own interpreter.

    Raises:
        ChildFailedError: the converter refused; the message says why.
        UnsupportedTargetError: there is no interpreter here that could convert.
    """
    spec = job.spec
    wanted = conversion_of(job.target.toolchain, spec.precision, spec.builder_config, model)
    if wanted is None:
        return Converted(model_path)
    place.require_onnxruntime(f"{spec.precision} needs a conversion of the model")
    converted = folder / "converted"
    converted.mkdir()
    request = ConversionRequest(
        model_path,
        converted / "model.onnx",
        wanted,
        first_profile(spec.profiles),
        calibration if wanted.quantized else None,
        spec.kept_layers,
        job.request.verification.thresholds.of_outputs if is_compared else None,
    )
    outcome = run(conversion_request_as_json(request))
    if failure := outcome.what_failed:
        raise ChildFailedError(failure)
    return Converted(request.converted_path, outcome.answer["note"], outcome.answer["details"])
