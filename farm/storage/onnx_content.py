"""What a model is identified by: the sha256 of its graph and weights, wherever they are kept.

Every message of the file is visited whatever it is nested in, so tensors are found in initializers,
attributes, subgraphs, functions, sparse tensors and training information alike, and so will those be
that ONNX adds later.

This module imports `onnx`: import it late.
"""

from __future__ import annotations

import hashlib
import math
import re
from typing import TYPE_CHECKING

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from onnx import GraphProto, ModelProto, TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from farm.domain.errors import InvalidModelError
from farm.storage.onnx_external_data import ExternalTensor, Slice, external_tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Goes first into every digest: change it when the way to digest changes, and no old key is met by chance.
_VERSION = b"engine-farm model 1\n"
_STRUCTURE_VERSION = b"engine-farm structure 1\n"
_MOST_DIMENSIONS = 64
_MOST_ELEMENTS = 2**48
_DESCRIPTIVE = ("doc_string", "metadata_props")
_DESCRIPTIVE_OF_MODEL = ("producer_name", "producer_version", "model_version", "domain")

# Fields that hold the same bits as raw_data does, value for value. Narrower types are left as they
# are written: their fields have room for values that their types have not.
_WIDE_FIELDS: dict[int, tuple[str, str]] = {
    TensorProto.FLOAT: ("float_data", "<f4"),
    TensorProto.COMPLEX64: ("float_data", "<f4"),
    TensorProto.DOUBLE: ("double_data", "<f8"),
    TensorProto.COMPLEX128: ("double_data", "<f8"),
    TensorProto.INT32: ("int32_data", "<i4"),
    TensorProto.INT64: ("int64_data", "<i8"),
    TensorProto.UINT64: ("uint64_data", "<u8"),
}

#: Initializers of these types say how a graph computes, not with what.
_VALUES_OF_STRUCTURE = frozenset(
    {
        TensorProto.INT16,
        TensorProto.INT32,
        TensorProto.INT64,
        TensorProto.UINT16,
        TensorProto.UINT32,
        TensorProto.UINT64,
        TensorProto.BOOL,
        TensorProto.STRING,
    }
)
_PAYLOADS = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def parse(data: bytes) -> ModelProto:
    """The message in the bytes of a graph file.

    Raises:
        InvalidModelError: they are not an ONNX model, or only the beginning of one.
    """
    try:
        model: ModelProto = ModelProto.FromString(data)
    except DecodeError:
        model = ModelProto()
    # Protobuf finds a message in many files that hold none, and in the beginning of one cut short.
    if not model.ir_version or not model.HasField("graph"):
        raise InvalidModelError(
            "is not an ONNX model, or only the beginning of one", hint="Export or copy the model again."
        )
    for message in messages_in(model):
        _refuse_broken_text(message)
    return model


def messages_in(root: Message) -> Iterator[Message]:
    """A message and all messages inside it, outermost first, in the order of the file.

    A message may be changed while it is at hand: what it holds is looked up afterwards.
    """
    pending = [root]
    while pending:
        message = pending.pop()
        yield message
        inside: list[Message] = []
        for field, value in message.ListFields():
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                inside.extend([value] if isinstance(value, Message) else value)
        pending.extend(reversed(inside))


def slices_of(model: ModelProto) -> list[ExternalTensor]:
    """Check the size of every tensor, and collect those that are kept outside the graph.

    Raises:
        InvalidModelError: a tensor's bytes do not fit its type and dimensions, or are not well-formed.
    """
    outside = []
    for tensor in messages_in(model):
        if isinstance(tensor, TensorProto):
            if is_external(tensor):
                outside.append(_external(tensor))
            else:
                _check_inline(tensor)
    return outside


def is_external(tensor: TensorProto) -> bool:
    """Whether a tensor's bytes are kept outside the graph."""
    return tensor.data_location == TensorProto.EXTERNAL


def dtype_name(data_type: int, what: str) -> str:
    """Numpy's name of an element type, `float8_e4m3fn` and its kin as ml_dtypes spells them.

    Raises:
        InvalidModelError: the installed onnx does not know the type.
    """
    if data_type == TensorProto.STRING:
        return "string"
    try:
        return tensor_dtype_to_np_dtype(data_type).name
    except KeyError:
        raise InvalidModelError(
            f"{what} has element type {data_type}, which the installed onnx does not know"
        ) from None


def element_count(tensor: TensorProto) -> int:
    """How many elements a tensor's dimensions make.

    Raises:
        InvalidModelError: a dimension is negative, or there are more elements than can be counted.
    """
    if any(size < 0 for size in tensor.dims):
        raise InvalidModelError(f"tensor {tensor.name!r} has a negative dimension: {list(tensor.dims)[:8]}")
    # Python would go on to multiply a million dimensions, and then fail to print the product.
    if len(tensor.dims) > _MOST_DIMENSIONS or math.prod(tensor.dims) > _MOST_ELEMENTS:
        raise InvalidModelError(f"tensor {tensor.name!r} has more elements than any memory")
    return math.prod(tensor.dims)


def content_sha256(model: ModelProto, slice_digests: Mapping[Slice, str]) -> str:
    """The sha256 of a model's content. The message is taken apart for it and of no use afterwards.

    What only describes is dropped, and the bytes of each tensor are replaced by their sha256, so it
    does not matter where they were. The rest is what protobuf writes in the order of field numbers.

    Args:
        model: a model that passed all checks.
        slice_digests: the sha256 of what lies outside.
    """
    for name in _DESCRIPTIVE_OF_MODEL:
        model.ClearField(name)
    for message in messages_in(model):
        known = message.DESCRIPTOR.fields_by_name
        for name in _DESCRIPTIVE:
            if name in known:
                message.ClearField(name)
        if isinstance(message, TensorProto):
            _replace_payload(message, slice_digests)
    return hashlib.sha256(_VERSION + model.SerializeToString(deterministic=True)).hexdigest()


def structure_sha256(model: ModelProto) -> str:
    """The sha256 of a model's structure: equal for models that differ in the values of their weights alone.

    Initializers count by name, type and shape; those of whole numbers and truth values also by value, since shapes,
    axes and indices are such. Quantized weights, whole numbers of 8 bits and less, are weights.

    Args:
        model: as `content_sha256` left it.
    """
    for message in messages_in(model):
        if isinstance(message, GraphProto):
            for tensor in message.initializer:
                if tensor.data_type not in _VALUES_OF_STRUCTURE:
                    for field in _PAYLOADS:
                        tensor.ClearField(field)
    return hashlib.sha256(_STRUCTURE_VERSION + model.SerializeToString(deterministic=True)).hexdigest()


def _replace_payload(tensor: TensorProto, slice_digests: Mapping[Slice, str]) -> None:
    if is_external(tensor):
        sha256 = bytes.fromhex(slice_digests[_external(tensor).slice])
    else:
        payload = tensor.raw_data
        field, dtype = _WIDE_FIELDS.get(tensor.data_type, ("", ""))
        if not payload and field:
            payload = np.array(getattr(tensor, field), dtype=dtype).tobytes()
            tensor.ClearField(field)
        sha256 = hashlib.sha256(payload).digest()
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")
    tensor.raw_data = sha256


def _external(tensor: TensorProto) -> ExternalTensor:
    if tensor.data_type == TensorProto.STRING:
        raise InvalidModelError(f"tensor {tensor.name!r} holds strings, which can only be kept in the graph")
    entries = [(entry.key, entry.value) for entry in tensor.external_data]
    return external_tensor(tensor.name, entries, _size_bytes(tensor))


def _check_inline(tensor: TensorProto) -> None:
    """Refuse what onnx's checker lets pass: bytes to spare, types it does not know, segments."""
    if tensor.HasField("segment"):
        raise InvalidModelError(f"tensor {tensor.name!r} is stored in segments, which nothing reads")
    expected = _size_bytes(tensor)
    field, dtype = _WIDE_FIELDS.get(tensor.data_type, ("", ""))
    found = len(tensor.raw_data)
    if not found and field:
        found = len(getattr(tensor, field)) * np.dtype(dtype).itemsize
    elif not found:
        # In fields of narrower types, which the checker measures.
        return
    if found != expected:
        raise InvalidModelError(
            f"tensor {tensor.name!r} has {found} bytes, and its type and dimensions ask for {expected}",
            hint="Export the model again.",
        )


def _size_bytes(tensor: TensorProto) -> int:
    name = dtype_name(tensor.data_type, f"tensor {tensor.name!r}")
    # From the name, since numpy gives a whole byte to types of two, four or six bits that ONNX packs.
    width = re.search(r"[0-9]+", name)
    bits = int(width[0]) if width else {"bool": 8, "string": 0}[name]
    return -(-element_count(tensor) * bits // 8)


def _refuse_broken_text(message: Message) -> None:
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_STRING:
            texts = [value] if isinstance(value, (str, bytes)) else value
            # Protobuf hands out bytes where text is not UTF-8.
            if any(isinstance(text, bytes) for text in texts):
                raise InvalidModelError(f"holds text that is not UTF-8, in a field {field.name!r}")
