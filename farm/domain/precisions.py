"""The words for precisions, in what order a set of them is written, and which devices can do which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Tuple

from farm.domain.targets import DeviceKind

if TYPE_CHECKING:
    from farm.domain.targets import DeviceType

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8", "int8+fp16", "fp8", "fp8+fp16", "best")
#: Whatever a set leaves in FP32 is in it anyway, so these say nothing beside another word.
_UNSAID = ("fp32", "tf32")
#: The least compute capability whose hardware has the type (NVIDIA's support matrices; FP8 and BF16 also measured
#: with TensorRT-RTX 1.7.1). FP16 runs on all that TensorRT 8.5 and later build for.
_LEAST_CAPABILITY = {"tf32": (8, 0), "bf16": (8, 0), "fp8": (8, 9), "int8": (6, 1)}
#: What to do instead, the nearest first.
_NEAREST = {
    "fp8": ("int8+fp16", "fp16"),
    "fp8+fp16": ("int8+fp16", "fp16"),
    "int8": ("fp16",),
    "bf16": ("fp16", "fp32"),
    "tf32": ("fp32",),
}


def canonical_precision(word: str) -> str:
    """A precision as the farm writes it: `FP16+INT8` is `int8+fp16`. What is no precision is given back in lower case."""
    parts = [part for part in word.lower().replace(" ", "").split("+") if part]
    said = [part for part in parts if part not in _UNSAID] if len(parts) > 1 else parts
    for known in PRECISIONS:
        if said and sorted(known.split("+")) == sorted(set(said)):
            return known
    return word.lower()


def parts_of(precision: str) -> Tuple[str, ...]:
    """The types of a set: `int8+fp16` has two."""
    return tuple(precision.split("+"))


def is_quantized(precision: str) -> bool:
    """Whether some tensors are to be in 8 bits, so that their ranges must be known."""
    return bool({"int8", "fp8"} & set(parts_of(precision)))


def why_device_can_not(device_type: DeviceType, precision: str) -> str:
    """Why the hardware of a type of device does not have a precision; empty if it has, or if that is not known."""
    if device_type.kind is DeviceKind.CPU:
        return ""
    major, _, minor = device_type.compute_capability.partition(".")
    own = (int(major or 0), int(minor or 0))
    for part in parts_of(precision):
        least = _LEAST_CAPABILITY.get(part, (0, 0))
        if own < least:
            nearest = next(
                (word for word in _NEAREST.get(precision, ()) if not why_device_can_not(device_type, word)),
                "fp32",
            )
            return (
                f"compute capability {device_type.compute_capability} has no {part.upper()} "
                f"(from {least[0]}.{least[1]} on); nearest: {nearest}"
            )
    return ""
