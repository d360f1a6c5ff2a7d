"""From an ONNX file to a TensorRT network.

Shared by TensorRT and TensorRT-RTX; the module `trt` is an argument. Callers must hold builder,
network and parser in variables: TensorRT frees what Python forgets, and the rest then crashes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidModelError
from workers.toolchains.trt_log import TrtLog, failure, plain_error
from workers.toolchains.trt_release import max_opset

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_NODE_IN_LOG = re.compile(r'While parsing node number (\d+) \[(\S+)(?: -> "([^"]*)")?')
_NAME_IN_LOG = re.compile(r'^name: "([^"]*)"', re.MULTILINE)
_MISSING_OPERATOR = re.compile(r"Plugin not found|No importer registered|Unsupported operator|creator &&")
_MISSING_FILE = re.compile(r"Failed to open file: (.+)")


def create_builder(trt: Any, log: TrtLog, *, needs_device: bool = True) -> Any:
    """A builder.

    Raises:
        FarmError: there is none to be had, as when no device is there.
    """
    try:
        return trt.Builder(log.logger)
    except TypeError as error:  # pybind11's word for a null pointer
        raise failure(log, "gives no builder", needs_device=needs_device) from error


def create_network(trt: Any, builder: Any, log: TrtLog, *, strongly_typed: bool = False) -> Any:
    """An empty network whose batch is an ordinary dimension.

    Releases up to 8 want a flag for that; 10 ignores it, and in 11 it is gone and the same number
    means something else. So it is asked for by name, and only where the name exists.

    Args:
        trt: the module.
        builder: of the network.
        log: told of what goes wrong.
        strongly_typed: whether the model's own types are to hold: asked for in 10, always so from 11 on.
    """
    known = trt.NetworkDefinitionCreationFlag
    wanted = ["EXPLICIT_BATCH", *(["STRONGLY_TYPED"] if strongly_typed else [])]
    members = [getattr(known, name, None) for name in wanted] if hasattr(known, "EXPLICIT_BATCH") else []
    network = builder.create_network(sum(1 << int(member) for member in members if member is not None))
    if network is None:
        raise failure(log, "gives no network")
    return network


def parse_model(trt: Any, network: Any, log: TrtLog, model_path: Path) -> Any:
    """Fills the network from an ONNX file, reading weights that are kept beside it.

    Returns:
        The parser, which must outlive the network.

    Raises:
        InvalidModelError: the parser does not take the model; names the node and its operator.
    """
    parser = trt.OnnxParser(network, log.logger)
    # By path, so that the parser finds external data and no model of many gigabytes is read twice.
    if not parser.parse_from_file(str(model_path)):
        raise _parse_refusal(trt, parser, log)
    if not network.num_outputs:
        # Some bytes that are no ONNX file pass as one without any node (seen on RTX 1.7.1).
        raise InvalidModelError(f"{log.name} finds no output in the file: it is empty, or not an ONNX model")
    return parser


def has_quantize_layers(trt: Any, network: Any) -> bool:
    """Whether the model says by itself what is quantized (Q/DQ nodes)."""
    kind = getattr(trt.LayerType, "QUANTIZE", None) if hasattr(trt, "LayerType") else None
    return kind is not None and any(
        network.get_layer(number).type == kind for number in range(network.num_layers)
    )


def _parse_refusal(trt: Any, parser: Any, log: TrtLog) -> InvalidModelError:
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    spoken = [str(error.desc()) for error in errors] or [plain_error(text) for text in log.errors]
    text = "; ".join(list(dict.fromkeys(re.sub(r"\s+", " ", line).strip() for line in spoken))[:3])
    code = str(errors[0].code()).rsplit(".", 1)[-1] if errors else ""
    if "DESERIALIZE" in code or "Failed to parse ONNX model" in text + " ".join(log.errors):
        return InvalidModelError(
            f"{log.name} can not read the file: it is not an ONNX model, or it is cut short ({text})"
        )
    missing = next(filter(None, map(_MISSING_FILE.search, log.errors)), None)
    if missing:
        return InvalidModelError(
            f"{log.name} can not open {missing[1].strip()}, which the model keeps weights in",
            hint="Give the model's external data along, under the name that the model has for it.",
        )
    node = _refused_node(errors, log)
    operator = node.get("operator", "")
    where = f"operator {operator} " if operator else ""
    where += f"(node {node['name']!r})" if node.get("name") else ""
    message = f"{log.name} can not take {where.strip() or 'the model'}: {text or 'it gave no reason'}"
    return InvalidModelError(message, hint=_parse_hint(trt, operator, text + " ".join(log.errors)))


def _refused_node(errors: Sequence[Any], log: TrtLog) -> dict[str, str]:
    """Name and operator of the node that was refused.

    From 10.0 on the error says them. Before, it has only the node's index, and the log's text
    form of the node has its name.
    """
    for error in errors:
        if getattr(error, "node_operator", None):
            name = str(error.node_name()) if getattr(error, "node_name", None) else ""
            if name or error.node_operator():
                return {"name": name, "operator": str(error.node_operator())}
    said = "\n".join(log.errors)
    found = _NODE_IN_LOG.search(said)
    if not found:
        return {}
    named = _NAME_IN_LOG.search(said)
    return {"name": named[1] if named and named[1] else found[3] or found[1], "operator": found[2]}


def _parse_hint(trt: Any, operator: str, text: str) -> str:
    newest = max_opset(trt)
    opset = (
        f" Its parser knows operator sets up to {newest}: if the model uses a later one, export it "
        f"again with opset_version={newest}."
        if newest
        else ""
    )
    if _MISSING_OPERATOR.search(text):
        return (
            f"{operator or 'The operator'} is not one of its operators: replace it by ONNX's own "
            f"when exporting.{opset}"
        )
    return opset.strip()
