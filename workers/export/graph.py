"""The exported graph made ready: constants folded, names of inputs and outputs set, nothing of this host left in it."""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidModelError
from workers.export.blame import SOURCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from workers.export.inputs import InputSpec

#: Beyond it weights go into a file beside the graph. Protobuf ends at 2 GiB, and a reader of the whole graph
#: needs several times its size in memory.
LARGEST_INLINE_BYTES = 1 << 30


def read_graph(path: Path) -> Any:
    """The graph of a file; weights stay on the disk until they are needed."""
    return importlib.import_module("onnx_ir").load(path)


def fold_constants(model: Any) -> int:
    """Computes what depends on constants alone, and drops what nothing uses.

    Nothing is fused: which operators belong together is for each toolchain to decide.

    Returns:
        How many nodes are gone.
    """
    passes = importlib.import_module("onnx_ir.passes")
    common = importlib.import_module("onnx_ir.passes.common")
    folding = importlib.import_module("onnxscript.optimizer._constant_folding")
    common.InlinePass()(model)
    before = len(model.graph)
    passes.Sequential(
        folding.FoldConstantsPass(
            shape_inference=True,
            input_size_limit=folding.DEFAULT_CONSTANT_FOLD_INPUT_SIZE_LIMIT,
            output_size_limit=folding.DEFAULT_CONSTANT_FOLD_OUTPUT_SIZE_LIMIT,
        ),
        common.IdentityEliminationPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.LiftSubgraphInitializersToMainGraphPass(),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),
        common.RemoveUnusedOpsetsPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    )(model)
    return before - len(model.graph)


def set_names(model: Any, specs: Sequence[InputSpec], outputs: Sequence[str]) -> tuple[str, ...]:
    """Names inputs, outputs and dynamic dimensions, and takes traces of the exporter out.

    Returns:
        Inputs that the model has no use for, and the graph no longer has.

    Raises:
        InvalidModelError: the graph has other inputs or outputs than the model, or a dynamic dimension was fixed.
    """
    graph = model.graph
    if len(graph.outputs) != len(outputs):
        raise InvalidModelError(
            f"the exporter gave the model {len(graph.outputs)} outputs, and it has {len(outputs)}: {', '.join(outputs)}",
            hint="Models that change their own buffers, or return an input as it is, can not be exported so.",
        )
    by_name = {value.name.removesuffix("_orig"): value for value in graph.inputs}
    unused = tuple(spec.name for spec in specs if spec.name not in by_name)
    if len(graph.inputs) + len(unused) != len(specs):
        raise InvalidModelError(f"the exporter gave the model other inputs: {', '.join(by_name)}")
    wanted = {id(by_name[spec.name]): spec.name for spec in specs if spec.name in by_name}
    wanted |= {id(value): name for value, name in zip(graph.outputs, outputs, strict=True)}
    _name_values(model, wanted)
    symbols = _symbols(specs, {value.name: value for value in graph.inputs})
    for value in _values(graph):
        if value.shape is not None:
            value.shape = _renamed_shape(value.shape, symbols)
    return unused


def strip(model: Any) -> None:
    """Takes out metadata (paths and code of this host among it) and the wrapper of the legacy exporter."""
    model.doc_string = None
    model.metadata_props.clear()
    model.graph.doc_string = None
    model.graph.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.doc_string = None
        node.metadata_props.clear()
        if node.name:
            node.name = _unwrapped(node.name)
    for value in _values(model.graph):
        value.doc_string = None
        value.metadata_props.clear()
        if value.name and SOURCE in value.name:
            value.name = _unwrapped(value.name)


def save(model: Any, path: Path) -> None:
    """Writes the graph; the weights of large models into a file of its name and `.data`."""
    ir = importlib.import_module("onnx_ir")
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    ir.save(model, path, external_data=f"{path.name}.data" if size > LARGEST_INLINE_BYTES else None)


def _name_values(model: Any, wanted: Mapping[int, str]) -> None:
    names = set(wanted.values())
    for value in _values(model.graph):
        if id(value) not in wanted and value.name in names:
            # `mask`, an inner tensor, must make way for the output of that name.
            value.name = f"{value.name}_inner"
    for value in _values(model.graph):
        if id(value) in wanted:
            value.name = wanted[id(value)]


def _symbols(specs: Sequence[InputSpec], inputs: Mapping[str, Any]) -> dict[str, str]:
    """From the exporter's symbols to the user's.

    Raises:
        InvalidModelError: what was to stay dynamic is a number.
    """
    found: dict[str, str] = {}
    for spec in specs:
        value = inputs.get(spec.name)
        for axis, symbol in spec.dynamic if value is not None else ():
            size = value.shape[axis]  # type: ignore[union-attr]
            if isinstance(size, int):
                raise InvalidModelError(
                    f"dimension {symbol} of input {spec.name!r} was fixed to {size} by the exporter",
                    hint=f"Leave {symbol} out of --dynamic, or try the other --exporter.",
                )
            found[str(size.value)] = symbol
    return found


def _renamed_shape(shape: Any, symbols: Mapping[str, str]) -> Any:
    ir = importlib.import_module("onnx_ir")

    def renamed(size: Any) -> Any:
        if isinstance(size, int) or size.value is None:
            return size
        return re.sub(r"[A-Za-z_]\w*", lambda word: symbols.get(word[0], word[0]), str(size.value))

    return ir.Shape([renamed(size) for size in shape])


def _values(graph: Any) -> list[Any]:
    found = {id(value): value for value in (*graph.inputs, *graph.initializers.values(), *graph.outputs)}
    for node in graph.all_nodes():
        found |= {id(value): value for value in node.outputs}
        if node.graph is not graph:
            found |= {id(value): value for value in (*node.graph.inputs, *node.graph.initializers.values())}
    return list(found.values())


def _unwrapped(name: str) -> str:
    return name.replace(f"/{SOURCE}/", "/").replace(f"{SOURCE}.", "")
