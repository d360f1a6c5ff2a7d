"""From an ONNX file to a TensorRT network with its optimization profiles.

Shared by TensorRT and TensorRT-RTX; the module `trt` is an argument. Callers must hold builder,
network and parser in variables: TensorRT frees what Python forgets, and the rest then crashes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidModelError, InvalidSpecError
from farm.domain.shapes import DYNAMIC, shape_text
from farm.domain.suggestions import did_you_mean
from workers.toolchains.trt_log import TrtLog, failure, plain_error, spec_refusal
from workers.toolchains.trt_release import max_opset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from farm.domain.shapes import ShapeRange

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


def create_network(trt: Any, builder: Any, log: TrtLog) -> Any:
    """An empty network whose batch is an ordinary dimension.

    Releases up to 8 want a flag for that; 10 ignores it, and in 11 it is gone and the same number
    means something else. So it is asked for by name, and only where the name exists.
    """
    member = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    network = builder.create_network(0 if member is None else 1 << int(member))
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


def add_profiles(
    builder: Any, config: Any, network: Any, profiles: Sequence[Mapping[str, ShapeRange]], log: TrtLog
) -> None:
    """Gives the config one optimization profile per entry, and checks what TensorRT does not.

    TensorRT's own calls raise nothing for a bad profile: `set_shape` takes min > max, and
    `add_optimization_profile` answers -1 (measured).

    Raises:
        InvalidSpecError: an input is unknown or not covered, or a range does not fit.
    """
    tensors = {tensor.name: tensor for tensor in map(network.get_input, range(network.num_inputs))}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    dynamic = [name for name, shape in shapes.items() if DYNAMIC in shape]
    for name, tensor in tensors.items():
        if tensor.is_shape_tensor:
            raise InvalidSpecError(
                f"input {name!r} holds a shape: its values would need a range, which is not supported yet",
                hint="Make the shape follow from another input when exporting the model, or a constant.",
            )
    if dynamic and not profiles:
        raise _not_covered(dynamic[0], shapes[dynamic[0]])
    for ranges in profiles:
        for name, span in ranges.items():
            if name not in shapes:
                raise InvalidSpecError(f"the model has no input {name!r}", hint=did_you_mean(name, shapes))
            _check_fits(name, shapes[name], span)
        profile = builder.create_optimization_profile()
        for name in dynamic:
            if name not in ranges:
                raise _not_covered(name, shapes[name])
            _set_shape(profile, name, ranges[name], log)
        if dynamic and config.add_optimization_profile(profile) < 0:
            raise spec_refusal(log, f"the optimization profile {_profile_text(ranges)}")


def _set_shape(profile: Any, name: str, span: ShapeRange, log: TrtLog) -> None:
    wanted = [tuple(span.min), tuple(span.opt), tuple(span.max)]
    try:
        profile.set_shape(name, *wanted)
        got: list[tuple[int, ...]] | None = [tuple(shape) for shape in profile.get_shape(name)]
    except (IndexError, RuntimeError, TypeError, ValueError):
        got = None
    if got != wanted:
        raise spec_refusal(log, f"the profile of input {name!r}: {' '.join(map(shape_text, wanted))}")


def _check_fits(name: str, shape: tuple[int, ...], span: ShapeRange) -> None:
    for given in (span.min, span.opt, span.max):
        if len(given) != len(shape) or any(
            size not in (DYNAMIC, at) for size, at in zip(shape, given, strict=True)
        ):
            raise InvalidSpecError(
                f"shape {shape_text(tuple(given))} does not fit input {name!r} of shape {shape_text(shape)}"
            )


def _not_covered(name: str, shape: tuple[int, ...]) -> InvalidSpecError:
    return InvalidSpecError(
        f"input {name!r} is dynamic ({shape_text(shape)}) and no optimization profile covers it",
        hint=f"Give --min-shapes, --opt-shapes and --max-shapes {name}:… or --batch.",
    )


def _profile_text(ranges: Mapping[str, ShapeRange]) -> str:
    return ", ".join(
        f"{name}: {shape_text(span.min)} {shape_text(span.opt)} {shape_text(span.max)}"
        for name, span in ranges.items()
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
