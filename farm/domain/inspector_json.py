"""What TensorRT's EngineInspector says of an engine, read into layers.

Two schemas: up to TensorRT 10 inputs and outputs are a list of names under `Bindings` and every tensor has a
`Format/Datatype`; from 11 on they are objects under `I/O Tensors`, and format and type stand apart. How much is told
was decided when the engine was built (`profiling_verbosity`): names alone, or everything.
"""

from __future__ import annotations

import re
from typing import Any, List, Mapping, Optional, Sequence, Tuple

from farm.domain.layers import EngineLayers, IoTensor, Layer, LayerTensor, bytes_of
from farm.domain.lenient_json import read_lenient, read_list

MORE = "Build it with --set profiling_verbosity=DETAILED to see types, precisions, tactics and formats."
_CUT = "What the engine told of its layers can be read in part only; `--raw` shows the text."
_SILENT = "The engine was built with profiling_verbosity=NONE and tells nothing of its layers."

_DTYPES = {
    "float": "fp32", "fp32": "fp32", "float32": "fp32", "half": "fp16", "fp16": "fp16", "float16": "fp16",
    "bf16": "bf16", "bfloat16": "bf16", "int8": "int8", "uint8": "uint8", "int32": "int32", "int64": "int64",
    "bool": "bool", "fp8": "fp8", "int4": "int4", "fp4": "fp4",
}  # fmt: skip
_DTYPE = re.compile(rf"\b({'|'.join(sorted(_DTYPES, key=len, reverse=True))})\b", re.IGNORECASE)
_ENUM = re.compile(r"\(k([A-Z][A-Z0-9_]*)\)")
#: How many values a vectorized format holds together, in the inspector's words.
_WIDTHS = {"two": 2, "four": 4, "eight": 8, "sixteen": 16, "thirty-two": 32}
_VECTORIZED = re.compile(r"\b(two|four|eight|sixteen|thirty-two) wide channel vectorized", re.IGNORECASE)
_CHANNEL_LAST = re.compile(r"channel major.*?channel % (\d+) == 0", re.IGNORECASE)
_METADATA = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_JOINTS = re.compile(r"\s\+\s|\s\|\|\s|,\s?|\.\.\.|ForeignNode\[|\]|[{}()]|\bPWN\b")
#: What TensorRT adds of its own: nothing of the model is in it.
_OWN_LAYER = re.compile(
    r"^(Reformatting CopyNode|copy_|Shape Host To Device|\[trainStation|\[HostToDevice)", re.IGNORECASE
)
_READ = {"Name", "LayerType", "Inputs", "Outputs", "TacticName", "Metadata"}


def parse_inspector(text: str) -> EngineLayers:
    """The layers of an engine, from the text of `get_engine_information(JSON)`.

    Whatever is not understood is left as it is or left out; nothing raises.
    """
    is_whole = True
    try:
        document = read_lenient(text)
    except ValueError:
        layers, is_whole = read_list(text, "Layers")
        names, _ = read_list(text, "Bindings")
        tensors, _ = read_list(text, "I/O Tensors")
        document = {"Layers": layers, "Bindings": names, "I/O Tensors": tensors}
    return read_inspector(document, is_whole=is_whole)


def read_inspector(document: Any, *, is_whole: bool = True) -> EngineLayers:
    """As `parse_inspector`, from a document that was read before."""
    if not isinstance(document, dict):
        document = {"Layers": document if isinstance(document, list) else []}
    told = document.get("Layers") or []
    layers = tuple(_layer(item) for item in told if isinstance(item, (dict, str)))
    is_detailed = any(isinstance(item, dict) and len(item) > 1 for item in told)
    return EngineLayers(
        layers, _io(document, layers), is_detailed, "TensorRT", _note(layers, is_detailed, is_whole)
    )


def _note(layers: Tuple[Layer, ...], is_detailed: bool, is_whole: bool) -> str:
    if not is_whole:
        return _CUT
    if not layers:
        return f"{_SILENT} {MORE}"
    return "" if is_detailed else f"It tells its layers' names alone. {MORE}"


def _layer(told: Any) -> Layer:
    if isinstance(told, str):
        return Layer(told, nodes=_nodes_in(told))
    name = str(told.get("Name", ""))
    inputs, outputs = _tensors(told.get("Inputs")), _tensors(told.get("Outputs"))
    weights = [
        value for value in told.values() if isinstance(value, dict) and {"Type", "Count"} <= set(value)
    ]
    metadata = _METADATA.findall(str(told.get("Metadata") or ""))
    return Layer(
        name=name,
        type=str(told.get("LayerType", "")),
        precision=_precision(weights, inputs, outputs),
        tactic=_tactic(told),
        inputs=inputs,
        outputs=outputs,
        weights_bytes=_weights_bytes(weights) if len(told) > 1 else None,
        nodes=() if _OWN_LAYER.match(name) else tuple(dict.fromkeys(metadata)) or _nodes_in(name),
        rest={key: value for key, value in told.items() if key not in _READ},
    )


def _tactic(told: Mapping[str, Any]) -> str:
    name = told.get("TacticName")
    value = told.get("TacticValue")
    # Zero is what layers say that have no choice.
    return str(name or (value if value not in (None, "", "0x0", "0x0000000000000000", 0) else ""))


def _tensors(told: Any) -> Tuple[LayerTensor, ...]:
    return (
        tuple(_tensor(item) for item in told if isinstance(item, (dict, str)))
        if isinstance(told, list)
        else ()
    )


def _tensor(told: Any) -> LayerTensor:
    if isinstance(told, str):
        return LayerTensor(told)
    both = str(told.get("Format/Datatype", ""))
    if both.startswith("N/A"):
        # "N/A due to dynamic shapes", of all tensors: TensorRT 8.6, with an execution context at hand or without.
        both = ""
    dtype = str(told.get("Datatype") or told.get("DataType") or both)
    return LayerTensor(
        name=str(told.get("Name", "")),
        dtype=dtype_word(dtype),
        format=format_word(str(told.get("Format") or both)),
        shape=_shape(told.get("Dimensions")),
        location=str(told.get("Location", "")),
    )


def _io(document: Mapping[str, Any], layers: Tuple[Layer, ...]) -> Tuple[IoTensor, ...]:
    found: List[IoTensor] = []
    for told in document.get("I/O Tensors") or []:
        if isinstance(told, dict):
            profiles = [info for info in told.get("ProfileInfo") or [] if isinstance(info, dict)]
            formats = tuple(format_word(str(info.get("Format", ""))) for info in profiles)
            mode, dtype = str(told.get("IOMode", "")).lower(), dtype_word(str(told.get("DataType", "")))
            found.append(
                IoTensor(str(told.get("Name", "")), mode, dtype, _shape(told.get("Dimensions")), formats)
            )
    for name in document.get("Bindings") or []:
        # Of several profiles each has bindings of its own.
        if isinstance(name, str) and not re.search(r" \[profile \d+\]$", name):
            found.append(_binding(name, layers))
    return tuple(found)


def _binding(name: str, layers: Tuple[Layer, ...]) -> IoTensor:
    """An input or output of which only the name is told: the layer that reads or writes it tells the rest."""
    for layer in layers:
        for mode, tensors in (("input", layer.inputs), ("output", layer.outputs)):
            for tensor in tensors:
                if tensor.name == name:
                    formats = (tensor.format,) if tensor.format else ()
                    return IoTensor(name, mode, tensor.dtype, tensor.shape, formats)
    return IoTensor(name)


def _precision(
    weights: Sequence[Mapping[str, Any]], inputs: Tuple[LayerTensor, ...], outputs: Tuple[LayerTensor, ...]
) -> str:
    words = [dtype_word(str(item["Type"])) for item in weights if item["Count"]]
    words += [tensor.dtype for tensor in (*inputs, *outputs)]
    return next(filter(None, words), "")


def _weights_bytes(weights: Sequence[Mapping[str, Any]]) -> Optional[int]:
    total = 0
    for item in weights:
        size = (
            bytes_of(dtype_word(str(item["Type"])), item["Count"]) if isinstance(item["Count"], int) else None
        )
        if size is None:
            return None
        total += size
    return total


def _nodes_in(name: str) -> Tuple[str, ...]:
    """The model's nodes in the name of a layer, such as `conv1 + relu1` or `PWN(add)`."""
    if _OWN_LAYER.match(name):
        return ()
    plain = re.sub(r"\s\[profile \d+\]$", "", name)
    parts = [part.strip() for part in _JOINTS.split(plain)]
    return tuple(dict.fromkeys(part for part in parts if part))


def dtype_word(text: str) -> str:
    """The farm's word for a type in the inspector's; empty if there is none in it."""
    found = _DTYPE.search(text)
    return _DTYPES[found[1].lower()] if found else ""


def format_word(text: str) -> str:
    """TensorRT's word for a format (`linear`, `chw32`, `hwc8`, …), or the inspector's words if they are others."""
    named = _ENUM.search(text)
    if named:
        return named[1].lower()
    if re.search(r"row major linear", text, re.IGNORECASE):
        return "linear"
    vectorized = _VECTORIZED.search(text)
    if vectorized:
        return f"chw{_WIDTHS[vectorized[1].lower()]}"
    last = _CHANNEL_LAST.search(text)
    if last:
        return f"hwc{last[1]}"
    if re.search(r"channel major", text, re.IGNORECASE):
        return "hwc"
    plain = " ".join(_DTYPE.sub("", text).split())
    return "" if plain.lower() in ("", "format", "n/a") else plain


def _shape(told: Any) -> Optional[Tuple[int, ...]]:
    if isinstance(told, list) and all(isinstance(size, int) for size in told):
        return tuple(told)
    return None
