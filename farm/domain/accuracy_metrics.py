"""The figures of accuracy, computed from arrays: one output against its reference, scores and maps against labels."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from farm.domain.accuracy import EXACT_SNR_DB, OutputAccuracy
from farm.domain.class_maps import class_map, labelled, overlap
from farm.domain.errors import AccuracyError, InvalidSpecError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Below this share of the reference's largest element a relative error says nothing.
RELEVANT_SHARE = 1e-3


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
        exact = OutputAccuracy(name, 0.0, 0.0, 1.0, EXACT_SNR_DB)
        return replace(exact, l2_error=0.0, rel_l2_error=0.0, psnr_db=EXACT_SNR_DB)
    wanted = np.asarray(expected, dtype=np.float64).ravel()
    found = np.asarray(actual, dtype=np.float64).ravel()
    # The same NaN or infinity on both sides is counted apart from anything else that is not finite.
    usable = np.isfinite(wanted) & np.isfinite(found)
    same = ~usable & ((wanted == found) | (np.isnan(wanted) & np.isnan(found)))
    bad = ~usable & ~same
    difference = np.zeros_like(wanted)
    difference[usable] = np.abs(found[usable] - wanted[usable])
    odd = bad if bad.any() else same
    worst = int(np.argmax(np.where(odd, np.inf, difference)))
    peak = float(np.abs(wanted[usable]).max()) if usable.any() else 0.0
    relevant = usable & (np.abs(wanted) > RELEVANT_SHARE * peak)
    relative = np.zeros_like(wanted)
    relative[relevant] = difference[relevant] / np.abs(wanted[relevant])
    worst_rel = int(np.argmax(relative))
    signal, noise = _length(wanted[usable]), _length(difference[usable])
    dice, iou = _overlap_of(expected, actual)
    return OutputAccuracy(
        name=name,
        max_abs_error=float(difference.max()),
        max_rel_error=float(relative.max()),
        cosine=_cosine(wanted[usable], found[usable]),
        snr_db=_ratio_db(signal, noise),
        top1_agreement=_top_agreement(expected, actual, 1),
        non_finite=int(bad.sum()),
        worst_index=_index(worst, expected),
        worst_expected=_finite(wanted[worst]),
        worst_actual=_finite(found[worst]),
        same_non_finite=int(same.sum()),
        l2_error=noise,
        rel_l2_error=noise / signal if signal else float(bool(noise)),
        psnr_db=_psnr_db(wanted[usable], noise),
        top5_agreement=_top_agreement(expected, actual, 5),
        dice=dice,
        iou=iou,
        exact_match=float((expected == actual).mean()) if expected.dtype.kind in "iub" else None,
        worst_rel_index=_index(worst_rel, expected),
        worst_rel_expected=_finite(wanted[worst_rel]),
        worst_rel_actual=_finite(found[worst_rel]),
    )


def label_topk(scores: NDArray[Any], labels: NDArray[Any], k: int) -> float | None:
    """The share of rows of `(N, classes)` whose label, of `(N,)`, is among the `k` largest scores.

    None where there are not more than `k` classes, for then it always is.

    Raises:
        InvalidSpecError: the numbers of rows differ.
    """
    if len(scores) != len(labels):
        raise InvalidSpecError(f"{len(labels)} labels do not fit {len(scores)} outputs")
    rows = scores.reshape(len(scores), -1)
    if k > 1 and rows.shape[1] <= k:
        return None
    return float((_largest(rows, k) == labels.reshape(-1, 1)).any(axis=1).mean())


def label_overlap(output: NDArray[Any], labels: NDArray[Any]) -> tuple[float, float] | None:
    """Dice and IoU of a map of classes against labels of its shape; none where they are of another."""
    found = class_map(output)
    if found is None or found.shape != labels.shape:
        return None
    counts = labelled(labels, found)
    return overlap(labels[counts], found[counts])


def _overlap_of(expected: NDArray[Any], actual: NDArray[Any]) -> tuple[float | None, float | None]:
    wanted, found = class_map(expected), class_map(actual)
    if wanted is None or found is None:
        return None, None
    return overlap(wanted, found)


def _top_agreement(expected: NDArray[Any], actual: NDArray[Any], k: int) -> float | None:
    """None where the output does not look like scores: `(N, classes)` floats, at least two classes, more than `k`."""
    if expected.ndim != 2 or expected.shape[1] < 2 or expected.dtype.kind != "f":
        return None
    if k > 1 and expected.shape[1] <= k:
        return None
    return float((_largest(actual, k) == expected.argmax(axis=1)[:, None]).any(axis=1).mean())


def _largest(rows: NDArray[Any], k: int) -> NDArray[np.intp]:
    """The positions of the `k` largest elements of every row."""
    if k == 1:
        return np.asarray(rows.argmax(axis=1))[:, None]
    return np.asarray(np.argpartition(rows, -k, axis=1)[:, -k:])


def _cosine(wanted: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    lengths = _length(wanted), _length(found)
    if not all(lengths):
        return 0.0 if any(lengths) else 1.0
    return float(np.clip((wanted / lengths[0]) @ (found / lengths[1]), -1.0, 1.0))


def _psnr_db(wanted: NDArray[np.float64], noise: float) -> float:
    span = float(wanted.max() / 2 - wanted.min() / 2) * 2 if wanted.size else 0.0
    # A reference that is the same everywhere has no range: its value stands for it.
    peak = span or float(np.abs(wanted).max(initial=0.0))
    return _ratio_db(peak, noise / math.sqrt(max(wanted.size, 1)))


def _ratio_db(signal: float, noise: float) -> float:
    if not noise:
        return EXACT_SNR_DB
    return 20 * (math.log10(signal) - math.log10(noise)) if signal else -EXACT_SNR_DB


def _length(vector: NDArray[np.float64]) -> float:
    """The Euclidean length, also where squares would be too large or too small for a float."""
    peak = float(np.abs(vector).max(initial=0.0))
    return peak * float(np.linalg.norm(vector / peak)) if peak else 0.0


def _index(flat: int, array: NDArray[Any]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(flat, array.shape))


def _finite(value: np.float64) -> float:
    return float(np.nan_to_num(value, nan=0.0))
