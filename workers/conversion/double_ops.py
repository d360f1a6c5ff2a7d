"""Convolutions and pools for onnx's reference evaluator, in double precision by matrix products.

The evaluator's own walk over every window in Python: minutes for one image. Its other operators are numpy's.
"""

from __future__ import annotations

import math
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from onnx.reference.op_run import OpRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Conv(OpRun):
    """Convolution of any number of dimensions."""

    op_domain = ""

    def _run(
        self,
        x: NDArray[Any],
        w: NDArray[Any],
        b: NDArray[Any] | None = None,
        auto_pad: str | None = None,
        dilations: Sequence[int] | None = None,
        group: int | None = None,
        kernel_shape: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> tuple[NDArray[Any]]:
        kernel, groups = w.shape[2:], group or 1
        window = _Window(x.shape[2:], kernel, auto_pad, dilations, pads, strides)
        padded = np.pad(x, ((0, 0), (0, 0), *window.pads))
        channels, filters = w.shape[1], w.shape[0] // groups
        flat = [w[g * filters : (g + 1) * filters].reshape(filters, -1) for g in range(groups)]
        out = []
        # Image by image: all windows of one at once are as many times its size as the kernel has elements.
        for image in padded:
            views = window.views(image)
            places = views.shape[1 : 1 + len(kernel)]
            rows = [
                f @ _columns(views[g * channels : (g + 1) * channels], len(kernel))
                for g, f in enumerate(flat)
            ]
            out.append(np.concatenate(rows).reshape(-1, *places))
        found = np.stack(out)
        return (found if b is None else found + b.reshape(1, -1, *repeat(1, len(kernel))),)


class ConvTranspose(OpRun):
    """Transposed convolution of any number of dimensions: a matrix product for every element of the kernel."""

    op_domain = ""

    def _run(
        self,
        x: NDArray[Any],
        w: NDArray[Any],
        b: NDArray[Any] | None = None,
        auto_pad: str | None = None,
        dilations: Sequence[int] | None = None,
        group: int | None = None,
        kernel_shape: Sequence[int] | None = None,
        output_padding: Sequence[int] | None = None,
        output_shape: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> tuple[NDArray[Any]]:
        del kernel_shape  # the weights have it
        kernel, sizes, groups = w.shape[2:], x.shape[2:], group or 1
        rank = len(kernel)
        steps, gaps = tuple(strides or repeat(1, rank)), tuple(dilations or repeat(1, rank))
        more = tuple(output_padding or repeat(0, rank))
        whole = [
            (n - 1) * s + (k - 1) * d + 1 + m
            for n, s, k, d, m in zip(sizes, steps, kernel, gaps, more, strict=True)
        ]
        if not output_shape and auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            output_shape = [n * s for n, s in zip(sizes, steps, strict=True)]
        if output_shape:
            around = [
                _halves(total - wanted, is_upper=auto_pad == "SAME_UPPER")
                for total, wanted in zip(whole, output_shape[-rank:], strict=True)
            ]
        else:
            around = list(zip(pads[:rank], pads[rank:], strict=True)) if pads else [(0, 0)] * rank
        filters = w.shape[1]
        out = np.zeros((len(x), groups * filters, *whole), dtype=x.dtype)
        for place in np.ndindex(*kernel):
            # Where this element of the kernel puts what it makes of every element of the input.
            at = tuple(
                slice(p * d, p * d + (n - 1) * s + 1, s)
                for p, d, n, s in zip(place, gaps, sizes, steps, strict=True)
            )
            for g in range(groups):
                channels = slice(g * w.shape[0] // groups, (g + 1) * w.shape[0] // groups)
                made = np.tensordot(w[(channels, slice(None), *place)], x[:, channels], axes=(0, 1))
                out[(slice(None), slice(g * filters, (g + 1) * filters), *at)] += np.moveaxis(made, 0, 1)
        # Less than nothing is left out at the end where the output is to be larger.
        beyond = [max(-high, 0) for _, high in around]
        out = np.pad(out, [(0, 0), (0, 0), *((0, size) for size in beyond)])
        kept: list[Any] = [
            slice(low, total - max(high, 0) + size)
            for (low, high), total, size in zip(around, whole, beyond, strict=True)
        ]
        found = out[(Ellipsis, *kept)]
        return (found if b is None else found + b.reshape(1, -1, *repeat(1, rank)),)


class AveragePool(OpRun):
    """Means of windows."""

    op_domain = ""

    def _run(
        self,
        x: NDArray[Any],
        auto_pad: str | None = None,
        ceil_mode: int | None = None,
        count_include_pad: int | None = None,
        dilations: Sequence[int] | None = None,
        kernel_shape: Sequence[int] = (),
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> tuple[NDArray[Any]]:
        window = _Window(x.shape[2:], kernel_shape, auto_pad, dilations, pads, strides, bool(ceil_mode))
        axes = tuple(range(-len(kernel_shape), 0))
        total = window.views(window.padded(x, 0.0)).sum(axis=axes)
        # With `ceil_mode` the last windows reach beyond what counts as padding.
        counted = np.ones(x.shape[2:], dtype=x.dtype)
        given = window.explicit(counted, 1.0 if count_include_pad else 0.0)
        return (total / window.views(given).sum(axis=axes),)


class MaxPool(OpRun):
    """Largest elements of windows; without the positions, which nothing but training asks for."""

    op_domain = ""

    def _run(
        self,
        x: NDArray[Any],
        auto_pad: str | None = None,
        ceil_mode: int | None = None,
        dilations: Sequence[int] | None = None,
        kernel_shape: Sequence[int] = (),
        pads: Sequence[int] | None = None,
        storage_order: int | None = None,
        strides: Sequence[int] | None = None,
    ) -> tuple[NDArray[Any]]:
        if len(self.output) > 1:
            raise NotImplementedError("MaxPool with positions")
        window = _Window(x.shape[2:], kernel_shape, auto_pad, dilations, pads, strides, bool(ceil_mode))
        return (window.views(window.padded(x, -np.inf)).max(axis=tuple(range(-len(kernel_shape), 0))),)


class _Window:
    """Where the windows of a convolution or a pool are."""

    def __init__(
        self,
        sizes: Sequence[int],
        kernel: Sequence[int],
        auto_pad: str | None,
        dilations: Sequence[int] | None,
        pads: Sequence[int] | None,
        strides: Sequence[int] | None,
        ceil_mode: bool = False,
    ) -> None:
        rank = len(kernel)
        self.strides = tuple(strides or repeat(1, rank))
        self.dilations = tuple(dilations or repeat(1, rank))
        self.spans = tuple((k - 1) * d + 1 for k, d in zip(kernel, self.dilations, strict=True))
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            self.pads = [
                _same(size, span, stride, is_upper=auto_pad == "SAME_UPPER")
                for size, span, stride in zip(sizes, self.spans, self.strides, strict=True)
            ]
        elif auto_pad == "VALID" or not pads:
            self.pads = [(0, 0)] * rank
        else:
            self.pads = list(zip(pads[:rank], pads[rank:], strict=True))
        self.extra = [0] * rank
        if ceil_mode:
            self.extra = [
                _beyond(size, pad, span, stride)
                for size, pad, span, stride in zip(sizes, self.pads, self.spans, self.strides, strict=True)
            ]

    def padded(self, x: NDArray[Any], value: float) -> NDArray[Any]:
        """An array with the padding around its last dimensions, and what `ceil_mode` adds."""
        around = [(low, high + more) for (low, high), more in zip(self.pads, self.extra, strict=True)]
        return np.pad(x, ((0, 0), (0, 0), *around), constant_values=value)

    def explicit(self, ones: NDArray[Any], value: float) -> NDArray[Any]:
        """The same of an array without images and channels, where what `ceil_mode` adds is 0."""
        return np.pad(np.pad(ones, self.pads, constant_values=value), [(0, more) for more in self.extra])

    def views(self, x: NDArray[Any]) -> NDArray[Any]:
        """All windows of the last dimensions: those say where, as many more after them what is in the window."""
        rank = len(self.spans)
        axes = tuple(range(x.ndim - rank, x.ndim))
        views = sliding_window_view(x, self.spans, axis=axes)
        steps: list[Any] = [slice(None, None, step) for step in (*self.strides, *self.dilations)]
        found: NDArray[Any] = views[(Ellipsis, *steps)]
        return found


def _columns(views: NDArray[Any], rank: int) -> NDArray[Any]:
    """Windows (channels, *places, *kernel) as a matrix with a column for every place."""
    order = (0, *range(1 + rank, 1 + 2 * rank), *range(1, 1 + rank))
    moved = views.transpose(order)
    return moved.reshape(math.prod(moved.shape[: 1 + rank]), -1)


def _halves(total: int, *, is_upper: bool) -> tuple[int, int]:
    """What is left out before and behind, as ONNX shares it out for transposed convolutions."""
    less, more = total // 2, total - total // 2
    return (less, more) if is_upper else (more, less)


def _same(size: int, span: int, stride: int, *, is_upper: bool) -> tuple[int, int]:
    total = max((math.ceil(size / stride) - 1) * stride + span - size, 0)
    less, more = total // 2, total - total // 2
    return (less, more) if is_upper else (more, less)


def _beyond(size: int, pad: tuple[int, int], span: int, stride: int) -> int:
    """What a last window that is only partly there needs; one that would begin in the padding behind is none."""
    whole = size + sum(pad)
    places = math.ceil((whole - span) / stride) + 1
    if (places - 1) * stride >= size + pad[0]:
        places -= 1
    return max((places - 1) * stride + span - whole, 0)
