"""How TensorRT honours a precision, by version; the module `trt` is an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidSpecError
from farm.domain.toolchains import PRECISIONS

if TYPE_CHECKING:
    from farm.domain.targets import ToolchainId

_TYPED = "needs typed conversion of the model, not supported yet by this toolchain"


def is_strongly_typed(trt: Any) -> bool:
    """Whether the model's own types decide: TensorRT 11 and TensorRT-RTX have no flag for FP16."""
    return not hasattr(trt.BuilderFlag, "FP16")


def precisions_of(trt: Any, toolchain: ToolchainId) -> dict[str, str]:
    """Each known precision with an empty text, or with the reason why it is not done."""
    if is_strongly_typed(trt):
        done = {"fp32", "tf32"}
        nearest = "tf32"
    else:
        done = {"fp32", "tf32", "fp16"} | ({"bf16"} if hasattr(trt.BuilderFlag, "BF16") else set())
        # Its ranges come from Q/DQ nodes, or from a calibrator.
        done |= {"int8", "int8+fp16"}
        nearest = "fp16"
    answers = {}
    for precision in PRECISIONS:
        if precision in done:
            answers[precision] = ""
        elif is_strongly_typed(trt) and precision in ("fp16", "bf16"):
            answers[precision] = f"{_TYPED} ({toolchain})"
        else:
            answers[precision] = f"not supported yet by this toolchain ({toolchain}); nearest: {nearest}"
    return answers


def precision_notes_of(trt: Any) -> dict[str, str]:
    """How each supported precision is honoured, for people."""
    typing = "the model's own types (strongly typed)" if is_strongly_typed(trt) else "weakly typed"
    notes = {
        "fp32": f"BuilderFlag.TF32 cleared, {typing}",
        "tf32": f"BuilderFlag.TF32, {typing}",
    }
    if not is_strongly_typed(trt):
        # trtexec --fp16 and --bf16 leave TensorRT's default TF32 on for what stays in 32 bits; so do we.
        notes["fp16"] = f"BuilderFlag.FP16 and TF32 as with trtexec --fp16, {typing}"
        if hasattr(trt.BuilderFlag, "BF16"):
            notes["bf16"] = f"BuilderFlag.BF16 and TF32 as with trtexec --bf16, {typing}"
        notes["int8"] = f"BuilderFlag.INT8 and TF32 as with trtexec --int8, {typing}"
        notes["int8+fp16"] = f"BuilderFlag.INT8, FP16 and TF32 as with trtexec --int8 --fp16, {typing}"
    return notes


def apply_precision(trt: Any, config: Any, precision: str) -> str:
    """Sets the builder's flags for a precision, and says how it is honoured.

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
        return notes[precision]
    config.set_flag(flags.TF32)  # on by default in every release; said, so that it stays
    for part in precision.split("+"):
        if part != "tf32":
            config.set_flag(getattr(flags, part.upper()))
    return notes[precision]
