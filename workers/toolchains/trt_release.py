"""Which release of TensorRT or TensorRT-RTX a module is; the module `trt` is an argument."""

from __future__ import annotations

import re
from importlib import metadata
from typing import Any

#: The newest ONNX operator set of a release's parser (onnx-tensorrt's docs/operators.md at its tags);
#: releases that are not listed are not known.
_MAX_OPSETS: dict[tuple[int, ...], int] = {(8, 5): 17, (8, 6): 17, (10, 0): 20}
_CUDA_LINES = ("cu11", "cu12", "cu13", "cu14")


def version_of(trt: Any) -> tuple[int, ...]:
    """The module's version as numbers: `(8, 6, 0)`."""
    return tuple(int(number) for number in re.findall(r"\d+", trt.__version__))


def max_opset(trt: Any) -> int:
    """The newest operator set that the module's parser knows; 0 if that is not known."""
    if trt.__name__ != "tensorrt":
        return 0
    return max_opset_of(version_of(trt))


def max_opset_of(version: tuple[int, ...]) -> int:
    """The newest operator set that TensorRT's parser of a release knows, such as of `(8, 6)`; 0 if that is not known.

    Of a major version alone it is what its oldest known release reads.
    """
    known = [opset for release, opset in _MAX_OPSETS.items() if release[: len(version)] == version[:2]]
    return min(known, default=0)


def installed_variant(trt: Any) -> str:
    """`cu12` or `cu13`, by which of the product's binding packages is installed in this version."""
    found = []
    for line in _CUDA_LINES:
        try:
            if metadata.version(f"{trt.__name__}_{line}_bindings") == trt.__version__:
                found.append(line)
        except metadata.PackageNotFoundError:
            continue
    return found[-1] if found else ""
