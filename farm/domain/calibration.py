"""INT8 calibration: which samples a builder measures the ranges of a network's tensors with, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping, Optional

from farm.domain.errors import InvalidSpecError
from farm.domain.precisions import is_quantized

if TYPE_CHECKING:
    from farm.domain.models import Model
    from farm.domain.toolchains import ToolchainDescription

#: Users' words for TensorRT's calibrators (`CalibrationAlgoType`).
ALGORITHMS = {
    "entropy": "ENTROPY_CALIBRATION_2",
    "minmax": "MINMAX_CALIBRATION",
    "entropy-legacy": "ENTROPY_CALIBRATION",
    "percentile": "LEGACY_CALIBRATION",
}
USUAL_ALGORITHM = ALGORITHMS["entropy"]
#: The builder option of toolchains that calibrate.
ALGORITHM_OPTION = "calibration_algorithm"
#: In place of a file of samples.
RANDOM = "random"
#: As many samples as NVIDIA's samples and Polygraphy's users take; more changes little and costs time.
USUAL_RANDOM_SAMPLES = 64
#: A builder holds them all in memory.
MOST_RANDOM_SAMPLES = 4096


@dataclass(frozen=True)
class Calibration:
    """What a builder calibrates with; part of the engine's key.

    Attributes:
        data_sha256: digest of an `.npz` artifact with an array per input, its first axis the samples; empty for
            seeded random ones, which nobody should expect accuracy of.
        batch: how many samples go in at once.
        samples: how many of them are used, from the first; 0 for all.
        seed: of the random ones.
    """

    data_sha256: str = ""
    batch: int = 1
    samples: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            InvalidSpecError: one makes no sense.
        """
        if self.batch < 1:
            raise InvalidSpecError(f"a calibration batch holds at least one sample, not {self.batch}")
        if self.samples < 0 or (self.is_random and not self.samples):
            raise InvalidSpecError(f"a calibration uses at least one sample, not {self.samples}")
        if self.is_random and self.samples > MOST_RANDOM_SAMPLES:
            raise InvalidSpecError(
                f"{self.samples} random calibration samples are more than {MOST_RANDOM_SAMPLES}",
                hint="They are for speed alone: some dozens do.",
            )
        if 0 < self.samples < self.batch:
            raise InvalidSpecError(
                f"{self.samples} calibration sample(s) do not fill a batch of {self.batch}",
                hint="Use more samples, or a smaller --calibration-batch.",
            )

    @property
    def is_random(self) -> bool:
        """Whether no data stands behind it; its engines carry that mark."""
        return not self.data_sha256

    def as_json(self) -> dict[str, Any]:
        """The form in the key."""
        found = {"data": self.data_sha256 or RANDOM, "batch": self.batch, "samples": self.samples}
        return {**found, "seed": self.seed} if self.is_random else found

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Calibration:
        """The inverse of `as_json`."""
        data = "" if value["data"] == RANDOM else str(value["data"])
        return cls(data, int(value["batch"]), int(value["samples"]), int(value.get("seed", 0)))


def algorithm_of(options: Mapping[str, Any]) -> str:
    """The `CalibrationAlgoType` that a cell's canonical options name, or the usual one."""
    return str(options.get(ALGORITHM_OPTION, USUAL_ALGORITHM))


def is_calibrated(precision: str, model: Model, calibration: Optional[Calibration] = None) -> bool:
    """Whether a cell's ranges are to come from samples: 8 bits, and no Q/DQ nodes in the model.

    Args:
        precision: of the cell; `best` uses INT8 where there are samples.
        model: of the cell.
        calibration: what was given; none if nothing was.
    """
    wanted = is_quantized(precision) or (precision == "best" and calibration is not None)
    return wanted and not model.has_qdq_nodes


def why_not_calibrated(
    toolchain: ToolchainDescription,
    precision: str,
    model: Model,
    calibration: Optional[Calibration],
    algorithm: str = "",
) -> str:
    """Why a cell can not be built as far as its calibration goes; empty if it can.

    Args:
        toolchain: of the cell.
        precision: of the cell.
        model: of the cell.
        calibration: what was given; none if nothing was.
        algorithm: how, in the user's word; empty for the usual one.
    """
    if not is_calibrated(precision, model, calibration):
        return ""
    known = next((option.choices for option in toolchain.options if option.name == ALGORITHM_OPTION), ())
    if not known:
        return f"{toolchain.id} has no calibrators; quantise the model (Q/DQ nodes) first"
    if algorithm and ALGORITHMS[algorithm] not in known:
        words = [word for word, name in ALGORITHMS.items() if name in known]
        return f"{toolchain.id} has no calibration algorithm {algorithm}; it has {', '.join(words)}"
    if calibration is None:
        return (
            f"{precision} needs samples to calibrate with: --calibration samples.npz, or --calibration random"
        )
    return ""
