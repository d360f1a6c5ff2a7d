"""The files of PyTorch baselines: the model as it was exported, and the same with what it is to be run with."""

from __future__ import annotations

import json
import warnings
import zipfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Iterator, Mapping

from farm.domain.error_texts import first_line
from farm.domain.errors import BuildError, InvalidModelError
from farm.domain.model_formats import PT2, TORCHSCRIPT
from farm.domain.models import Tensor
from workers.toolchains.torch_program import TENSORS_FILE, program_tensors

if TYPE_CHECKING:
    from pathlib import Path

#: The file in an engine that says how it is run.
_RECIPE_FILE = "engine_farm_baseline.json"
#: The file in an engine with what torch.compile has compiled, in base64.
CACHE_FILE = "engine_farm_compiled.txt"
_HINT = "Files are read by the PyTorch that wrote them, and mostly by later ones: export the model again."


@dataclass(frozen=True)
class Recipe:
    """How an engine runs its model.

    Attributes:
        way: name of the toolchain.
        precision: of the cell.
        options: builder options that differ from their defaults.
        is_traced: whether autocast is in the model already.
    """

    way: str
    precision: str
    options: Mapping[str, Any] = field(default_factory=dict)
    is_traced: bool = False


@dataclass(frozen=True)
class TorchFile:
    """A file that was read.

    Attributes:
        model: an `ExportedProgram`, or a TorchScript module.
        format: `pt2` or `torchscript`.
        inputs: in the order of the model's arguments, leaf by leaf.
        outputs: its tensors in order; what is None is not among them.
        recipe: how to run it; none for a model as it was exported.
        extra: further texts in it, by name; empty where one is missing.
    """

    model: Any
    format: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    recipe: Recipe | None
    extra: Mapping[str, str]


@contextmanager
def without_warnings() -> Iterator[None]:
    """Keeps PyTorch's warnings away: TorchScript is deprecated, and each of its functions says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def format_of(path: Path) -> str:
    """What a file is, by what is in it.

    Raises:
        InvalidModelError: it is neither a program nor TorchScript.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] or name for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise InvalidModelError(f"{path.name} is no file of PyTorch: {first_line(error)}") from error
    # TorchScript has its source beside its constants; a program has a graph in JSON.
    return TORCHSCRIPT if "constants.pkl" in names else PT2


def read_torch_file(torch: Any, path: Path, device: str) -> TorchFile:
    """Reads a model.

    Args:
        torch: PyTorch's module.
        path: of the file.
        device: where TorchScript is put; a program is read where it was made.

    Raises:
        InvalidModelError: this PyTorch does not read it, or nobody knows the names of TorchScript's inputs.
    """
    kind = format_of(path)
    texts = dict.fromkeys((TENSORS_FILE, _RECIPE_FILE, CACHE_FILE), "")
    try:
        with path.open("rb") as stream, without_warnings():
            model = (
                torch.jit.load(stream, map_location=device, _extra_files=texts)
                if kind == TORCHSCRIPT
                else torch.export.load(stream, extra_files=texts)
            )
    except Exception as error:
        raise InvalidModelError(
            f"PyTorch {torch.__version__} can not read the model: {first_line(error)}", hint=_HINT
        ) from error
    # TorchScript gives bytes where it finds one, a program text.
    said: dict[str, Any] = dict(texts)
    found = {name: text.decode() if isinstance(text, bytes) else text for name, text in said.items()}
    if found[TENSORS_FILE]:
        document = json.loads(found[TENSORS_FILE])
        inputs, outputs = (
            tuple(Tensor(one["name"], one["dtype"], tuple(one["shape"])) for one in document[kind_])
            for kind_ in ("inputs", "outputs")
        )
    elif kind == PT2:
        inputs, outputs = program_tensors(model)
    else:
        raise InvalidModelError(
            "nobody knows what the inputs of this TorchScript are called",
            hint="Submit it with --baseline torchscript, which says it.",
        )
    recipe = Recipe(**json.loads(found[_RECIPE_FILE])) if found[_RECIPE_FILE] else None
    return TorchFile(model, kind, inputs, outputs, recipe, found)


def write_engine(torch: Any, file: TorchFile, recipe: Recipe, path: Path, cache: str = "") -> None:
    """Writes a model with how it is run.

    Raises:
        BuildError: PyTorch can not write it.
    """
    tensors = {"inputs": file.inputs, "outputs": file.outputs}
    texts = {
        TENSORS_FILE: json.dumps({name: [one.as_json() for one in some] for name, some in tensors.items()}),
        _RECIPE_FILE: json.dumps(asdict(recipe)),
        **({CACHE_FILE: cache} if cache else {}),
    }
    # PyTorch grumbles at a program with any other ending, and names the folder in the file after it.
    fresh = path.with_name("baseline.ts" if file.format == TORCHSCRIPT else "baseline.pt2")
    try:
        with without_warnings():
            if file.format == TORCHSCRIPT:
                torch.jit.save(file.model, str(fresh), _extra_files=texts)
            else:
                torch.export.save(file.model, str(fresh), extra_files=texts)
    except Exception as error:
        raise BuildError(
            f"PyTorch {torch.__version__} can not write the model: {first_line(error)}"
        ) from error
    fresh.replace(path)
