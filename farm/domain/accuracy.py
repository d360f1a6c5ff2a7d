"""Accuracy: how far an engine's outputs are from the reference's."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from farm.domain.errors import AccuracyError, InvalidSpecError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What JSON and SQL hold in place of an infinite ratio (outputs equal to the last bit).
EXACT_SNR_DB = 999.0


@dataclass(frozen=True)
class OutputAccuracy:
    """One output against its reference.

    Attributes:
        name: of the output.
        max_abs_error: greatest absolute difference of an element.
        max_rel_error: greatest difference relative to the reference, over elements of the reference
            that are not tiny beside its largest (1e-3 of it), since a ratio to almost nothing says nothing.
        cosine: similarity of the two as vectors, 1 at best.
        snr_db: power of the reference over power of the difference, in decibel.
        top1_agreement: share of rows whose largest element is the same one; none if it is not scores.
        non_finite: how many elements are NaN or infinite on one side and something else on the other.
        worst_index: position of the greatest absolute difference.
        worst_expected: the reference's value there.
        worst_actual: the engine's value there.
    """

    name: str
    max_abs_error: float
    max_rel_error: float
    cosine: float
    snr_db: float
    top1_agreement: float | None = None
    non_finite: int = 0
    worst_index: tuple[int, ...] = ()
    worst_expected: float = 0.0
    worst_actual: float = 0.0


@dataclass(frozen=True)
class Accuracy:
    """All outputs against the reference, and top-1 on labelled inputs where there are any.

    Attributes:
        outputs: one entry per output.
        samples: how many inputs were compared.
        reference: what computed the reference, such as `onnxruntime 1.23.2 fp32`.
        label_top1: share of labelled inputs whose label is the largest score.
        reference_label_top1: the same of the reference.
    """

    outputs: tuple[OutputAccuracy, ...]
    samples: int
    reference: str
    label_top1: float | None = None
    reference_label_top1: float | None = None

    @property
    def worst(self) -> OutputAccuracy:
        """The output that fares worst: one that is not finite, else by SNR."""
        return min(self.outputs, key=lambda output: (not output.non_finite, output.snr_db))

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Accuracy:
        """The inverse of `as_json`."""
        outputs = tuple(
            OutputAccuracy(**{**output, "worst_index": tuple(output["worst_index"])})
            for output in value["outputs"]
        )
        return cls(**{**value, "outputs": outputs})


@dataclass(frozen=True)
class Thresholds:
    """The least accuracy that a build must have; beyond it the job fails.

    Attributes:
        min_cosine: per output. The default refuses what is plainly broken and lets every precision pass.
        min_snr_db: per output; none for no limit.
        max_abs_error: per output; none for no limit.
        min_top1_agreement: per output that looks like scores; none for no limit.
    """

    min_cosine: float = 0.9
    min_snr_db: float | None = None
    max_abs_error: float | None = None
    min_top1_agreement: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        return asdict(self)

    def check(self, accuracy: Accuracy) -> None:
        """Refuses an engine that is less accurate than allowed.

        Raises:
            AccuracyError: names the output, the figure, the limit and the worst element.
        """
        for output in accuracy.outputs:
            limits = (
                ("cosine similarity", output.cosine, self.min_cosine, True),
                ("SNR in dB", output.snr_db, self.min_snr_db, True),
                ("max absolute error", output.max_abs_error, self.max_abs_error, False),
                ("top-1 agreement", output.top1_agreement, self.min_top1_agreement, True),
            )
            where = (
                f"worst at {list(output.worst_index)}: {output.worst_actual:.6g} "
                f"where the reference has {output.worst_expected:.6g}"
            )
            if output.non_finite:
                raise AccuracyError(
                    f"output {output.name!r} and the reference differ in {output.non_finite} values that are NaN "
                    f"or infinite in one of them ({where})",
                    hint="Values may overflow this precision: try bf16, tf32 or fp32.",
                )
            for name, value, limit, is_least in limits:
                if limit is None or value is None:
                    continue
                # Written so that NaN, which compares with nothing, does not pass.
                if not (value >= limit if is_least else value <= limit):
                    bound = "least" if is_least else "most"
                    raise AccuracyError(
                        f"output {output.name!r}: {name} {value:.6g}, at {bound} {limit:.6g} wanted ({where})",
                        hint="Build in a higher precision, or change the thresholds.",
                    )


@dataclass(frozen=True)
class VerificationSpec:
    """What an engine is verified with. Not part of its key.

    Attributes:
        inputs_sha256: digest of an `.npz` artifact with an array per input; empty for seeded random ones.
        seed: of the random inputs.
        thresholds: what it must reach.
        has_outputs: whether that file also says what is to be computed (`outputs/NAME`), so that no reference is.
    """

    inputs_sha256: str = ""
    seed: int = 0
    thresholds: Thresholds = field(default_factory=Thresholds)
    has_outputs: bool = False

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        return {name: value for name, value in asdict(self).items() if name != "has_outputs" or value}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> VerificationSpec:
        """The inverse of `as_json`."""
        return cls(
            value["inputs_sha256"],
            value["seed"],
            Thresholds(**value["thresholds"]),
            bool(value.get("has_outputs", False)),
        )


def compare(name: str, expected: NDArray[Any], actual: NDArray[Any]) -> OutputAccuracy:
    """One output against its reference; both of the same shape.

    Raises:
        AccuracyError: the shapes differ.
    """
    if expected.shape != actual.shape:
        raise AccuracyError(
            f"output {name!r} has shape {actual.shape} where the reference has {expected.shape}"
        )
    if not expected.size:
        return OutputAccuracy(name, 0.0, 0.0, 1.0, EXACT_SNR_DB)
    wanted = np.asarray(expected, dtype=np.float64).ravel()
    found = np.asarray(actual, dtype=np.float64).ravel()
    # The same NaN or infinity on both sides is agreement; anything else that is not finite is counted.
    agree = (wanted == found) | (np.isnan(wanted) & np.isnan(found))
    bad = ~agree & ~(np.isfinite(found) & np.isfinite(wanted))
    usable = np.isfinite(wanted) & np.isfinite(found)
    difference = np.zeros_like(wanted)
    difference[usable] = np.abs(found[usable] - wanted[usable])
    worst = int(np.argmax(np.where(bad, np.inf, difference)))
    peak = float(np.abs(wanted[usable]).max()) if usable.any() else 0.0
    relevant = usable & (np.abs(wanted) > 1e-3 * peak)
    relative = float((difference[relevant] / np.abs(wanted[relevant])).max()) if relevant.any() else 0.0
    return OutputAccuracy(
        name=name,
        max_abs_error=float(difference.max()),
        max_rel_error=relative,
        cosine=_cosine(wanted[usable], found[usable]),
        snr_db=_snr_db(wanted[usable], difference[usable]),
        top1_agreement=_top1_agreement(expected, actual),
        non_finite=int(bad.sum()),
        worst_index=tuple(int(i) for i in np.unravel_index(worst, expected.shape)),
        worst_expected=_finite(wanted[worst]),
        worst_actual=_finite(found[worst]),
    )


def label_top1(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    """The share of rows of `(N, classes)` whose largest score is at the label, `(N,)`.

    Raises:
        InvalidSpecError: the numbers of rows differ.
    """
    if len(scores) != len(labels):
        raise InvalidSpecError(f"{len(labels)} labels do not fit {len(scores)} outputs")
    rows = scores.reshape(len(scores), -1)
    return float((rows.argmax(axis=1) == labels.ravel()).mean())


def _cosine(wanted: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    lengths = _length(wanted), _length(found)
    if not all(lengths):
        return 0.0 if any(lengths) else 1.0
    return float(np.clip((wanted / lengths[0]) @ (found / lengths[1]), -1.0, 1.0))


def _snr_db(wanted: NDArray[np.float64], difference: NDArray[np.float64]) -> float:
    signal, noise = _length(wanted), _length(difference)
    if not noise:
        return EXACT_SNR_DB
    return 20 * (math.log10(signal) - math.log10(noise)) if signal else -EXACT_SNR_DB


def _length(vector: NDArray[np.float64]) -> float:
    """The Euclidean length, also where squares would be too large or too small for a float."""
    peak = float(np.abs(vector).max(initial=0.0))
    return peak * float(np.linalg.norm(vector / peak)) if peak else 0.0


def _top1_agreement(expected: NDArray[Any], actual: NDArray[Any]) -> float | None:
    """None where the output does not look like scores: `(N, classes)` floats, at least two classes."""
    if expected.ndim != 2 or expected.shape[1] < 2 or expected.dtype.kind != "f":
        return None
    return float((expected.argmax(axis=1) == actual.argmax(axis=1)).mean())


def _finite(value: np.float64) -> float:
    return float(np.nan_to_num(value, nan=0.0))
