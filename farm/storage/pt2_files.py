"""A PyTorch program, as `torch.export.save` writes it: a zip whose graph is JSON, so it is read without PyTorch."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from collections import Counter
from math import prod
from typing import TYPE_CHECKING, Any

from farm.domain.digests import Digest, chunks_of, digest_of_file, digest_of_json
from farm.domain.errors import InvalidModelError
from farm.domain.model_formats import PT2
from farm.domain.models import Model, ModelFile, Tensor
from farm.domain.shapes import DYNAMIC

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: `ScalarType` of torch/_export/serde/schema.py (2.13): numbers, since that is what the file has.
_DTYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
    29: "float8_e4m3fn",
    30: "float8_e5m2",
}
#: Where the graph is: since PyTorch 2.8, and before.
_GRAPHS = ("models/model.json", "serialized_exported_program.json")
#: What differs between two files of one program: samples of its inputs, and facts of the writing.
_NOT_CONTENT = re.compile(
    r"\.data/(serialization_id|version)|(archive_)?version|byteorder|data/sample_inputs/.*"
    r"|serialized_example_inputs\.pt"
)
_LARGEST_GRAPH_BYTES = 1 << 30


def read_pt2(path: Path) -> Model:
    """The model of a `.pt2` file.

    Raises:
        InvalidModelError: it is none, or one with inputs that are no tensors.
    """
    try:
        file = ModelFile(path.name, digest_of_file(path))
        with zipfile.ZipFile(path) as archive:
            program = _program(archive)
            contents = _contents(archive, program)
        graph = program["graph_module"]["graph"]
        signature = program["graph_module"]["signature"]
        values = graph["tensor_values"]
        inputs = tuple(_inputs(signature["input_specs"], values))
        outputs = tuple(_outputs(signature["output_specs"], values))
        weights = [
            spec[kind]["arg"]["name"]
            for spec in signature["input_specs"]
            for kind in ("parameter", "buffer")
            if kind in spec
        ]
        parameters = sum(prod(_tensor("", values[name]).shape) for name in weights if name in values)
        operators = Counter(_operator(str(node["target"])) for node in graph["nodes"])
    except InvalidModelError as error:
        raise InvalidModelError(f"{path}: {error.message}", hint=error.hint) from error
    except OSError as error:
        raise InvalidModelError(f"{path}: can not be read: {error.strerror}") from error
    except (
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InvalidModelError(
            f"{path}: is no program that torch.export.save wrote ({type(error).__name__}: {error})",
            hint="Write it with torch.export.save(torch.export.export(model, args), path).",
        ) from error
    return Model(
        digest=Digest(digest_of_json({"format": PT2, "files": contents}).sha256, file.digest.size_bytes),
        files=(file,),
        inputs=inputs,
        outputs=outputs,
        opset=0,
        ir_version=0,
        producer="torch.export",
        parameters=parameters,
        operators=dict(operators),
        format=PT2,
    )


def _program(archive: zipfile.ZipFile) -> Any:
    for name in archive.namelist():
        if name.endswith(_GRAPHS):
            if archive.getinfo(name).file_size > _LARGEST_GRAPH_BYTES:
                raise InvalidModelError("the program's graph is larger than 1 GiB")
            return json.loads(archive.read(name), object_hook=_without_traces)
    raise InvalidModelError(
        "has no graph of an exported program in it: a state dict, or TorchScript?",
        hint="Write it with torch.export.save(torch.export.export(model, args), path).",
    )


def _without_traces(value: dict[str, Any]) -> dict[str, Any]:
    """Where a node stood in whose sources is nothing that it computes."""
    return {name: item for name, item in value.items() if name != "stack_trace"}


def _contents(archive: zipfile.ZipFile, program: Any) -> dict[str, str]:
    """The digest of every file in it that says what the program computes, without the folder that all are in."""
    found = {}
    for entry in archive.infolist():
        # The folder is called after the file, as far as there is one.
        name = re.sub(r"^[^/]+/(?=models/|data/|\.data/|[^/]+$)", "", entry.filename)
        if entry.is_dir() or _NOT_CONTENT.fullmatch(name):
            continue
        if name in _GRAPHS:
            found["graph"] = hashlib.sha256(json.dumps(program, sort_keys=True).encode()).hexdigest()
            continue
        seen = hashlib.sha256()
        with archive.open(entry) as stream:
            for chunk in chunks_of(stream):  # type: ignore[arg-type]  # it reads like a BinaryIO
                seen.update(chunk)
        found[name] = seen.hexdigest()
    return found


def _inputs(specs: list[Any], values: Mapping[str, Any]) -> list[Tensor]:
    found = []
    for spec in specs:
        if "user_input" not in spec:
            continue
        argument = spec["user_input"]["arg"]
        if "as_tensor" not in argument:
            raise InvalidModelError(
                "one of its inputs is no tensor", hint="Export it with that argument as a constant."
            )
        name = str(argument["as_tensor"]["name"])
        found.append(_tensor(name, values[name]))
    return found


def _outputs(specs: list[Any], values: Mapping[str, Any]) -> list[Tensor]:
    arguments = [spec["user_output"]["arg"] for spec in specs if "user_output" in spec]
    names = [str(argument["as_tensor"]["name"]) for argument in arguments if "as_tensor" in argument]
    return [_tensor(name, values[name]) for name in names]


def _tensor(name: str, value: Mapping[str, Any]) -> Tensor:
    shape, symbols = [], []
    for size in value["sizes"]:
        expression = size.get("as_expr")
        shape.append(DYNAMIC if expression else int(size["as_int"]))
        symbols.append(_symbol(str(expression["expr_str"])) if expression else "")
    dtype = _DTYPES.get(value["dtype"])
    if dtype is None:
        raise InvalidModelError(f"{name or 'a tensor'} has an element type that the farm does not know")
    return Tensor(name, dtype, tuple(shape), tuple(symbols) if any(symbols) else ())


def _symbol(expression: str) -> str:
    """`s77` of `Symbol('s77', positive=True, integer=True)`, or of `s77` itself."""
    found = re.match(r"Symbol\('(\w+)'", expression)
    return found[1] if found else expression


def _operator(target: str) -> str:
    """`aten.linear` of `torch.ops.aten.linear.default`."""
    return target.removeprefix("torch.ops.").removesuffix(".default")
