"""The PyTorch model behind an exported file, kept for what runs it as it is: with the names that its ONNX file has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidModelError
from farm.domain.models import Tensor
from workers.export import dynamo
from workers.export.torch_import import quiet
from workers.toolchains.torch_program import TENSORS_FILE, tensors_as_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workers.export.request import ExportRequest

_HINT = "Leave PyTorch out of --baseline; ort-cpu and ort-cuda run the ONNX file."


def keep_program(
    torch: Any,
    model: Any,
    program: Any,
    binding: Any,
    sample: Mapping[str, Any],
    output_names: Sequence[str],
    request: ExportRequest,
) -> None:
    """Writes the model to `request.program_path`: TorchScript as it is, anything else as an exported program.

    Args:
        torch: PyTorch's module.
        model: as it runs: a module, TorchScript, or the module of a program.
        program: the program itself, where the source is one.
        binding: the model's inputs.
        sample: inputs by name, at the sizes to trace at.
        output_names: as the ONNX file has them, in order.
        request: of the export, whose ONNX file is there.

    Raises:
        InvalidModelError: `torch.export` can not follow the model, or the ONNX file has other inputs.
    """
    assert request.program_path is not None  # noqa: S101 - the caller asked for it
    _check_inputs(request, [spec.name for spec in binding.specs])
    found = model if isinstance(model, torch.jit.ScriptModule) else program
    if found is None:
        found = dynamo.capture(torch, model, binding, sample)
    is_script = found is model
    order = [spec.name for spec in binding.specs] if is_script else _leaves(found, binding)
    outputs = binding.call(model, sample)
    leaves = [leaf for leaf in torch.utils._pytree.tree_leaves(outputs) if leaf is not None]
    open_axes = {spec.name: dict(spec.dynamic) for spec in binding.specs}
    tensors = {
        "inputs": tuple(_tensor(name, sample[name], open_axes[name]) for name in order),
        # Which axes of an output are open nobody asks.
        "outputs": tuple(_tensor(name, leaf, {}) for name, leaf in zip(output_names, leaves, strict=True)),
    }
    texts = {TENSORS_FILE: json.dumps(tensors_as_json(tensors))}
    with quiet():
        if is_script:
            torch.jit.save(found, str(request.program_path), _extra_files=texts)
            return
        for node in found.graph.nodes:
            # Where it stood in whose sources is nothing that it computes; the same model is to be the same bytes.
            node.meta.pop("stack_trace", None)
        torch.export.save(found, str(request.program_path), extra_files=texts)


def _leaves(program: Any, binding: Any) -> list[str]:
    """The names of a program's inputs in its own order, which is that of the leaves of its arguments."""
    names = [spec.name for spec in binding.specs]
    own = [str(name) for name in program.graph_signature.user_inputs]
    if sorted(own) == sorted(names):
        return own
    if len(own) != len(names):
        raise InvalidModelError(
            f"the program takes {len(own)} values and the ONNX file {len(names)}: one of them is no tensor",
            hint=_HINT,
        )
    args, kwargs = binding.arguments({name: name for name in names})
    return [*args, *kwargs.values()]


def _check_inputs(request: ExportRequest, names: Sequence[str]) -> None:
    """Refuses a model of which the ONNX file has fewer inputs: both are to be fed the same."""
    import onnx

    graph = onnx.load(str(request.path), load_external_data=False).graph
    lost = sorted(set(names) - {value.name for value in graph.input})
    if lost:
        raise InvalidModelError(
            f"the model has no use for input {lost[0]!r}: the ONNX file is without it, and PyTorch asks for it, so that "
            "the two can not be fed the same",
            hint=_HINT,
        )


def _tensor(name: str, value: Any, open_axes: Mapping[int, str]) -> Tensor:
    shape = tuple(-1 if axis in open_axes else int(size) for axis, size in enumerate(value.shape))
    return Tensor(name, str(value.dtype).rpartition(".")[2], shape)
