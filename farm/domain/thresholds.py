"""Thresholds: the least accuracy that an engine must have, figure by figure."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple

from farm.domain.errors import AccuracyError

if TYPE_CHECKING:
    from farm.domain.accuracy import Accuracy, OutputAccuracy


class _Limit(NamedTuple):
    """How a threshold's figure is called by people, and which one it is."""

    words: str
    figure: str


#: Of every output that has the figure; at least one must have it.
_PER_OUTPUT = {
    "min_cosine": _Limit("cosine similarity", "cosine"),
    "min_snr_db": _Limit("SNR in dB", "snr_db"),
    "max_abs_error": _Limit("max absolute error", "max_abs_error"),
    "min_top1_agreement": _Limit("top-1 agreement", "top1_agreement"),
    "max_rel_error": _Limit("max relative error", "max_rel_error"),
    "max_l2_error": _Limit("L2 error", "l2_error"),
    "max_rel_l2_error": _Limit("relative L2 error", "rel_l2_error"),
    "min_psnr_db": _Limit("PSNR in dB", "psnr_db"),
    "min_top5_agreement": _Limit("top-5 agreement", "top5_agreement"),
    "min_dice": _Limit("Dice", "dice"),
    "min_iou": _Limit("IoU", "iou"),
    "min_exact_match": _Limit("share of equal elements", "exact_match"),
}
#: Of the engine as a whole, against labels.
_OF_LABELS = {
    "min_label_top1": _Limit("top-1 on the labels", "label_top1"),
    "min_label_top5": _Limit("top-5 on the labels", "label_top5"),
    "min_label_dice": _Limit("Dice on the labels", "label_dice"),
    "min_label_iou": _Limit("IoU on the labels", "label_iou"),
}
#: As every release has them in JSON; the others are there only where they are set.
_ALWAYS = ("min_cosine", "min_snr_db", "max_abs_error", "min_top1_agreement")
#: How thresholds on a user's own figures begin.
LEAST, MOST = "min_", "max_"


@dataclass(frozen=True)
class Thresholds:
    """The least accuracy that a build must have; beyond it the job fails. None is no limit.

    Attributes:
        min_cosine: per output. The default refuses what is plainly broken and lets every precision pass.
        min_snr_db: per output.
        max_abs_error: per output.
        min_top1_agreement: per output that looks like scores.
        max_rel_error: per output.
        max_l2_error: per output.
        max_rel_l2_error: per output.
        min_psnr_db: per output.
        min_top5_agreement: per output that looks like scores of more than five classes.
        min_dice: per output that is a map of classes.
        min_iou: likewise.
        min_exact_match: per output of integers or booleans.
        min_label_top1: where there are labels.
        min_label_top5: likewise.
        min_label_dice: where there are maps of labels.
        min_label_iou: likewise.
        max_same_non_finite: per output: how many NaN and infinities may be there that the reference has as well.
        metrics: limits on the user's own figures, by `min_NAME` or `max_NAME`.
    """

    min_cosine: float = 0.9
    min_snr_db: float | None = None
    max_abs_error: float | None = None
    min_top1_agreement: float | None = None
    max_rel_error: float | None = None
    max_l2_error: float | None = None
    max_rel_l2_error: float | None = None
    min_psnr_db: float | None = None
    min_top5_agreement: float | None = None
    min_dice: float | None = None
    min_iou: float | None = None
    min_exact_match: float | None = None
    min_label_top1: float | None = None
    min_label_top5: float | None = None
    min_label_dice: float | None = None
    min_label_iou: float | None = None
    max_same_non_finite: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def names(cls) -> list[str]:
        """Of all thresholds but the user's own."""
        return [one.name for one in fields(cls) if one.name != "metrics"]

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        values = {name: getattr(self, name) for name in self.names()}
        found = {name: value for name, value in values.items() if name in _ALWAYS or value is not None}
        return {**found, "metrics": dict(sorted(self.metrics.items()))} if self.metrics else found

    @property
    def of_outputs(self) -> Thresholds:
        """Those that need neither labels nor the user's own figures."""
        none: dict[str, Any] = dict.fromkeys(_OF_LABELS)
        return replace(self, metrics={}, **none)

    def lacks_figures(self, accuracy: Accuracy) -> bool:
        """Whether a figure is not there that these ask for, since an earlier release did not compute it."""
        own = any(name[len(LEAST) :] not in accuracy.metrics for name in self.metrics)
        return own or (not accuracy.has_all_figures and self != self._of_all_releases())

    def _of_all_releases(self) -> Thresholds:
        return Thresholds(**{name: getattr(self, name) for name in _ALWAYS})

    def check(self, accuracy: Accuracy) -> None:
        """Refuses an engine that is less accurate than allowed.

        Raises:
            AccuracyError: names the output, the figure, the limit and the worst element; or the figure that was asked
                for and that nothing has.
        """
        for output in accuracy.outputs:
            self._check_finite(output)
            for threshold, limit in _PER_OUTPUT.items():
                value = getattr(output, limit.figure)
                if value is not None:
                    where = _worst_of(output, limit.figure)
                    self._check_one(threshold, limit.words, value, f"output {output.name!r}: ", where)
        for threshold, limit in _PER_OUTPUT.items():
            if accuracy.has_all_figures:
                values = [getattr(output, limit.figure) for output in accuracy.outputs]
                self._check_there(threshold, limit, [value for value in values if value is not None])
        for threshold, limit in _OF_LABELS.items():
            value = getattr(accuracy, limit.figure)
            self._check_there(threshold, limit, [] if value is None else [value])
            if value is not None:
                other = getattr(accuracy, f"reference_{limit.figure}")
                where = "" if other is None else f" (the reference has {other:.6g})"
                self._check_one(threshold, limit.words, value, "", where)
        self._check_own(accuracy)

    def _check_finite(self, output: OutputAccuracy) -> None:
        where = _worst_of(output, "non_finite")
        if output.non_finite:
            raise AccuracyError(
                f"output {output.name!r} and the reference differ in {output.non_finite} values that are NaN "
                f"or infinite in one of them{where}",
                hint="Values may overflow this precision: try bf16, tf32 or fp32.",
            )
        if output.same_non_finite > (self.max_same_non_finite or 0):
            raise AccuracyError(
                f"output {output.name!r} has {output.same_non_finite} values that are NaN or infinite, and so has the "
                f"reference, which says nothing of them; the first one at {list(output.worst_index)}",
                hint="Give --inputs or --input-range where the model is defined; --threshold max_same_non_finite=N allows N.",
            )

    def _check_there(self, threshold: str, limit: _Limit, values: list[float]) -> None:
        if getattr(self, threshold) is not None and not values:
            raise AccuracyError(
                f"{threshold} asks for a figure that nothing here has: {limit.words}",
                hint="docs/measuring.md says which outputs have it; figures on labels need an array `labels` in --inputs.",
            )

    def _check_own(self, accuracy: Accuracy) -> None:
        for threshold, limit in self.metrics.items():
            name = threshold[len(LEAST) :]
            if name not in accuracy.metrics:
                raise AccuracyError(
                    f"{threshold} asks for a figure that no metric gave: {name}",
                    hint=f"There are: {', '.join(sorted(accuracy.metrics)) or 'none; --metric SOURCE.py:FUNCTION'}.",
                )
            _refuse_beyond(threshold, limit, name, accuracy.metrics[name], "", "")

    def _check_one(self, threshold: str, words: str, value: float, whose: str, where: str) -> None:
        limit = getattr(self, threshold)
        if limit is not None:
            _refuse_beyond(threshold, limit, words, value, whose, where)


def _refuse_beyond(threshold: str, limit: float, words: str, value: float, whose: str, where: str) -> None:
    is_least = threshold.startswith(LEAST)
    # Written so that NaN, which compares with nothing, does not pass.
    if not (value >= limit if is_least else value <= limit):
        bound = "least" if is_least else "most"
        raise AccuracyError(
            f"{whose}{words} {value:.6g}, at {bound} {limit:.6g} wanted{where}",
            hint="Build in a higher precision, or change the thresholds.",
        )


def _worst_of(output: OutputAccuracy, figure: str) -> str:
    """Where a figure is worst: the greatest relative difference for that one, the greatest absolute one for others."""
    index, actual, expected = output.worst_index, output.worst_actual, output.worst_expected
    if figure == "max_rel_error" and output.max_rel_error:
        index = output.worst_rel_index
        actual, expected = output.worst_rel_actual, output.worst_rel_expected
    return f" (worst at {list(index)}: {actual:.6g} where the reference has {expected:.6g})"
