"""How TensorRT honours a precision, by version; the module `trt` is an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidSpecError
from farm.domain.precisions import PRECISIONS, parts_of

if TYPE_CHECKING:
    from farm.domain.targets import ToolchainId

_OWN_TYPES = "the model's own types"
_TYPED_NOTES = {
    "fp16": "model converted to FP16 where it can be, inputs and outputs as they were",
    "bf16": "model converted to BF16 by ModelOpt AutoCast, inputs and outputs as they were",
    "int8": "Q/DQ nodes in INT8 around convolutions and matrix products, ranges from samples",
    "int8+fp16": "Q/DQ nodes in INT8, the rest converted to FP16",
    "fp8": "Q/DQ nodes in FP8 around convolutions and matrix products, ranges from samples",
    "fp8+fp16": "Q/DQ nodes in FP8, the rest converted to FP16",
}


def has_precision_flags(trt: Any) -> bool:
    """Whether the builder has flags for FP16 and INT8: TensorRT 11 and TensorRT-RTX have none, the model's types decide."""
    return hasattr(trt.BuilderFlag, "FP16")


def precisions_of(trt: Any, toolchain: ToolchainId) -> dict[str, str]:
    """Each known precision with an empty text, or with the reason why it is not done."""
    notes = precision_notes_of(trt)
    return {
        precision: "" if precision in notes else f"{_why_not(trt, precision)} ({toolchain})"
        for precision in PRECISIONS
    }


def _why_not(trt: Any, precision: str) -> str:
    if precision == "best":
        return "a strongly typed network has the types that its model has: `farm tune` finds the fastest; nearest: int8+fp16"
    if precision == "bf16":
        return "BF16 came with TensorRT 10; nearest: fp16"
    return "FP8 came with TensorRT 10: older parsers do not read its Q/DQ nodes; nearest: int8+fp16"


def precision_notes_of(trt: Any) -> dict[str, str]:
    """How each supported precision is honoured, for people."""
    if not has_precision_flags(trt):
        return {
            "fp32": f"BuilderFlag.TF32 cleared, {_OWN_TYPES}, strongly typed",
            "tf32": f"BuilderFlag.TF32, {_OWN_TYPES}, strongly typed",
            **{
                precision: f"BuilderFlag.TF32, {note}, strongly typed"
                for precision, note in _TYPED_NOTES.items()
            },
        }
    flags = ["fp16"] + (["bf16"] if hasattr(trt.BuilderFlag, "BF16") else [])
    notes = {
        "fp32": "BuilderFlag.TF32 cleared, weakly typed",
        "tf32": "BuilderFlag.TF32, weakly typed",
        # trtexec --fp16 and --bf16 leave TensorRT's default TF32 on for what stays in 32 bits; so do we.
        **{
            name: f"BuilderFlag.{name.upper()} and TF32 as with trtexec --{name}, weakly typed"
            for name in flags
        },
        "int8": "BuilderFlag.INT8 and TF32 as with trtexec --int8, weakly typed",
        "int8+fp16": "BuilderFlag.INT8, FP16 and TF32 as with trtexec --int8 --fp16, weakly typed",
    }
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        # Its flag is for plugins (10.3's own text), so FP8 has the model's types here too.
        notes |= {
            name: f"BuilderFlag.TF32, {_TYPED_NOTES[name]}, strongly typed" for name in ("fp8", "fp8+fp16")
        }
    words = " and ".join(name.upper() for name in flags)
    notes["best"] = (
        f"BuilderFlag.{words} and TF32, with INT8 where there are samples or Q/DQ nodes, weakly typed"
    )
    return notes


def apply_precision(
    trt: Any,
    config: Any,
    precision: str,
    *,
    strongly_typed: bool = False,
    capability: str = "",
    has_ranges: bool = False,
) -> str:
    """Sets the builder's flags for a precision, and says how it is honoured.

    Args:
        trt: the module.
        config: the builder's.
        precision: of the cell.
        strongly_typed: whether the network has the model's own types, so that no flag may be set but TF32.
        capability: compute capability of the device, for `best`; empty if it is not known.
        has_ranges: whether `best` may use INT8: there are samples, or Q/DQ nodes.

    Raises:
        InvalidSpecError: this release does not do the precision.
    """
    notes = precision_notes_of(trt)
    if precision not in notes:
        raise InvalidSpecError(
            f"precision {precision} is not supported by {trt.__name__} {trt.__version__}",
            hint=f"Supported: {', '.join(notes)}.",
        )
    flags = trt.BuilderFlag
    if precision == "fp32":
        config.clear_flag(flags.TF32)
    else:
        config.set_flag(flags.TF32)  # on by default in every release; said, so that it stays
    if strongly_typed:
        tf32 = "BuilderFlag.TF32 cleared" if precision == "fp32" else "BuilderFlag.TF32"
        return f"{tf32}, {_TYPED_NOTES.get(precision, _OWN_TYPES)}, strongly typed"
    for name in _flags_of(trt, precision, capability, has_ranges=has_ranges):
        config.set_flag(getattr(flags, name))
    return notes[precision]


def _flags_of(trt: Any, precision: str, capability: str, *, has_ranges: bool) -> list[str]:
    if precision != "best":
        return [part.upper() for part in parts_of(precision) if part not in ("fp32", "tf32")]
    chosen = ["FP16"] + (["INT8"] if has_ranges else [])
    # As trtexec --best: BF16 where the device has it.
    if hasattr(trt.BuilderFlag, "BF16") and int(capability.partition(".")[0] or 0) >= 8:
        chosen.append("BF16")
    return chosen
