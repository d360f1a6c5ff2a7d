"""Segmentation maps: which class every pixel has, and how far two maps overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Maps of integers with larger values are no classes.
_MOST_CLASSES = 65536
#: Beside negative numbers what data sets mark pixels with that nobody labelled.
_UNLABELLED = 255


def class_map(output: NDArray[Any]) -> NDArray[np.int64] | None:
    """The class of every pixel, `(N, H, W)`; none for an output that is no segmentation map.

    Scores `(N, classes, H, W)` of at least two classes give the largest one's; integers `(N, H, W)` or `(N, 1, H, W)`
    are classes already.
    """
    if output.ndim == 4 and output.shape[1] >= 2 and output.dtype.kind == "f" and output.size:
        return np.asarray(output.argmax(axis=1), dtype=np.int64)
    if output.dtype.kind not in "iu" or not output.size:
        return None
    if output.ndim == 4 and output.shape[1] == 1:
        output = output[:, 0]
    if output.ndim != 3 or output.min() < 0 or output.max() >= _MOST_CLASSES:
        return None
    return output.astype(np.int64)


def labelled(labels: NDArray[Any], found: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pixels of a map of labels have one: not negative, nor 255 where the other map has no such class."""
    is_class = found.max(initial=0) >= _UNLABELLED
    return np.asarray((labels >= 0) & (is_class | (labels != _UNLABELLED)))


def overlap(wanted: NDArray[Any], found: NDArray[Any]) -> tuple[float, float]:
    """Dice and IoU of two maps of one shape: the mean over the classes that either of them has.

    Two that have no pixels are equal.
    """
    first, second = (map_.astype(np.int64).ravel() for map_ in (wanted, found))
    if not first.size:
        return 1.0, 1.0
    classes = int(max(first.max(), second.max())) + 1
    both = np.bincount(first[first == second], minlength=classes)
    sizes = np.bincount(first, minlength=classes) + np.bincount(second, minlength=classes)
    occurs = sizes > 0
    dice = 2 * both[occurs] / sizes[occurs]
    iou = both[occurs] / (sizes[occurs] - both[occurs])
    return float(dice.mean()), float(iou.mean())
