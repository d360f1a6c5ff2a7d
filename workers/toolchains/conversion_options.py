"""The options of toolchains whose models are converted before they are built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.calibration import ALGORITHM_OPTION, ALGORITHMS, USUAL_ALGORITHM
from farm.domain.conversion import CONVERTER_OPTION, CONVERTERS
from farm.domain.toolchains import BuilderOption

if TYPE_CHECKING:
    from typing import Mapping

#: What ONNX Runtime's quantizer has for TensorRT's calibrators; for entropy-legacy it has nothing.
_ALGORITHMS = tuple(sorted(ALGORITHMS[word] for word in ("entropy", "minmax", "percentile")))
_OWN = (CONVERTER_OPTION, ALGORITHM_OPTION)


def conversion_options() -> tuple[BuilderOption, ...]:
    """Who converts, and how ranges follow from samples."""
    return (
        BuilderOption(
            CONVERTER_OPTION,
            "choice",
            default=CONVERTERS[0],
            choices=CONVERTERS,
            help="who converts the model: AUTO is ONNX Runtime for FP16, INT8 and FP8, "
            "ModelOpt for BF16; MODELOPT is NVIDIA's ModelOpt for all",
        ),
        BuilderOption(
            ALGORITHM_OPTION,
            "choice",
            default=USUAL_ALGORITHM,
            choices=_ALGORITHMS,
            help="how ranges follow from the samples of an INT8 conversion; has no effect on other precisions",
        ),
    )


def without_conversion(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a cell that are the builder's own."""
    return {name: value for name, value in options.items() if name not in _OWN}
