"""Accuracy as values: how far an engine's outputs are from the reference's, and its form in JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Mapping

#: What JSON and SQL hold in place of an infinite ratio (outputs equal to the last bit).
EXACT_SNR_DB = 999.0


@dataclass(frozen=True)
class OutputAccuracy:
    """One output against its reference. What is none was not asked of such an output, or by an earlier release.

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
        same_non_finite: how many elements are the same infinity, or NaN, on both sides.
        l2_error: Euclidean length of the difference.
        rel_l2_error: the same over the length of the reference.
        psnr_db: the reference's range (greatest less smallest value) over the root of the mean squared difference, in
            decibel.
        top5_agreement: share of rows where the reference's largest element is among the engine's five largest.
        dice: of maps of classes, the mean over classes that occur of 2 |A and B| / (|A| + |B|).
        iou: likewise |A and B| / |A or B|.
        exact_match: share of equal elements, for integers and booleans.
        worst_rel_index: position of the greatest relative difference.
        worst_rel_expected: the reference's value there.
        worst_rel_actual: the engine's value there.
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
    same_non_finite: int = 0
    l2_error: float | None = None
    rel_l2_error: float | None = None
    psnr_db: float | None = None
    top5_agreement: float | None = None
    dice: float | None = None
    iou: float | None = None
    exact_match: float | None = None
    worst_rel_index: tuple[int, ...] = ()
    worst_rel_expected: float = 0.0
    worst_rel_actual: float = 0.0


@dataclass(frozen=True)
class Accuracy:
    """All outputs against the reference, and against labels where there are any.

    Attributes:
        outputs: one entry per output.
        samples: how many inputs were compared.
        reference: what computed the reference, such as `onnxruntime 1.23.2 fp32`.
        label_top1: share of labelled inputs whose label is the largest score.
        reference_label_top1: the same of the reference.
        label_top5: share of labelled inputs whose label is among the five largest scores.
        reference_label_top5: the same of the reference.
        label_dice: of maps of classes against maps of labels.
        reference_label_dice: the same of the reference.
        label_iou: likewise.
        reference_label_iou: likewise.
        metrics: the user's own figures, by name.
        layerwise: which layer's error jumps first, as `layerwise_summary` has it; empty where nobody asked.
    """

    outputs: tuple[OutputAccuracy, ...]
    samples: int
    reference: str
    label_top1: float | None = None
    reference_label_top1: float | None = None
    label_top5: float | None = None
    reference_label_top5: float | None = None
    label_dice: float | None = None
    reference_label_dice: float | None = None
    label_iou: float | None = None
    reference_label_iou: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    layerwise: Mapping[str, Any] = field(default_factory=dict)

    @property
    def worst(self) -> OutputAccuracy:
        """The output that fares worst: one that is not finite, else by SNR."""
        return min(self.outputs, key=lambda output: (not output.non_finite, output.snr_db))

    @property
    def has_all_figures(self) -> bool:
        """Whether every figure of this release was computed; earlier releases knew fewer."""
        return all(output.rel_l2_error is not None for output in self.outputs)

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        document = {**asdict(self), "metrics": dict(self.metrics)}
        return {name: value for name, value in document.items() if name != "layerwise" or value}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Accuracy:
        """The inverse of `as_json`; also reads what earlier releases filed, and leaves out what later ones added."""
        known = {one.name for one in fields(cls)}
        outputs = tuple(map(_output_from_json, value["outputs"]))
        return cls(**{**{name: value[name] for name in value if name in known}, "outputs": outputs})


def _output_from_json(value: Mapping[str, Any]) -> OutputAccuracy:
    known = {one.name for one in fields(OutputAccuracy)}
    indices = {name: tuple(value.get(name, ())) for name in ("worst_index", "worst_rel_index")}
    return OutputAccuracy(**{**{name: value[name] for name in value if name in known}, **indices})
