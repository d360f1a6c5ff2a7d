"""What a model's files are, and which toolchains build from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

from farm.domain.conversion import conversion_of

if TYPE_CHECKING:
    from farm.domain.models import Model
    from farm.domain.toolchains import ToolchainDescription

#: A graph in ONNX, weights in it or beside it.
ONNX = "onnx"
#: A function that defines a network with TensorRT's own API, and its weights (`farm.domain.networks`).
NETWORK = "network"
#: A program that `torch.export.save` wrote.
PT2 = "pt2"
#: What `torch.jit.save` wrote.
TORCHSCRIPT = "torchscript"

#: What people call them.
WORDS = {
    ONNX: "an ONNX model",
    NETWORK: "a network defined with TensorRT's API",
    PT2: "a PyTorch program (.pt2)",
    TORCHSCRIPT: "TorchScript (.ts)",
}
#: What to do about a model of a format that a toolchain does not take.
_INSTEAD = {
    ONNX: "give it the program that the model was exported from, as torch.export.save writes it",
    NETWORK: "tensorrt and tensorrt-rtx build such networks",
    PT2: "export it to ONNX first: farm export MODEL.pt2",
}


def why_not_format(
    toolchain: ToolchainDescription, precision: str, options: Mapping[str, Any], model: Model
) -> str:
    """Why a cell can not be built as far as the model's format goes; empty if it can.

    Args:
        toolchain: of the cell.
        precision: of the cell.
        options: the cell's builder options.
        model: of the cell.
    """
    if model.format not in toolchain.model_formats:
        takes = " or ".join(WORDS.get(name, name) for name in toolchain.model_formats)
        instead = _INSTEAD.get(model.format, "")
        return f"{toolchain.id} takes {takes}, not {WORDS.get(model.format, model.format)}; {instead}"
    if model.format == NETWORK and conversion_of(toolchain.id, precision, options, model) is not None:
        return (
            f"{toolchain.id} builds a network in the types that its function gives it, and only ONNX models are "
            f"converted to {precision}: have the function define it so and ask for fp32; nearest: fp32"
        )
    return ""


def why_no_reference(model_format: str) -> str:
    """Why nothing computes reference outputs of a model on the CPU; empty if ONNX Runtime or PyTorch does."""
    if model_format != NETWORK:
        return ""
    return (
        f"{WORDS[NETWORK]} has no reference on the CPU: "
        f"give --inputs with arrays outputs/NAME that it is to be compared with"
    )
