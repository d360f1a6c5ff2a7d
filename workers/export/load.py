"""A PyTorch model from where the user keeps it, ready to be run: eval mode, on the CPU."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidModelError, InvalidRequestError
from farm.domain.suggestions import did_you_mean
from workers.export.sources import SourceKind
from workers.export.torch_import import load_torch, quiet, user_prints_aside
from workers.export.user_code import first_line, told
from workers.export.weights import load_weights

if TYPE_CHECKING:
    from workers.export.sources import Source


def load_model(source: Source, weights: Path | None, seed: int) -> Any:
    """The module, the TorchScript module, or the `ExportedProgram` of a source.

    Raises:
        InvalidRequestError: it can not be loaded; says where the user's own code failed.
    """
    torch = load_torch()
    torch.manual_seed(seed)
    if source.kind is SourceKind.PROGRAM:
        model = _program(torch, source.place)
        if weights is not None:
            raise InvalidRequestError("a .pt2 program has its weights: --weights goes with MODULE:FACTORY")
        return model
    model = (
        _script(torch, source.place)
        if source.kind is SourceKind.SCRIPT
        else _made(torch, source, _looked_up(source))
    )
    # What torch.compile wraps is what is exported.
    model = getattr(model, "_orig_mod", model)
    if weights is not None:
        load_weights(torch, model, weights)
    return model.to("cpu").eval()


def _program(torch: Any, place: str) -> Any:
    _check_file(place)
    try:
        with quiet():
            return torch.export.load(place)
    except Exception as error:
        raise InvalidModelError(
            f"{place}: torch {torch.__version__} reads no torch.export program from it: {first_line(error)}",
            hint="Write it with torch.export.save, and read it with the same release of PyTorch.",
        ) from error


def _script(torch: Any, place: str) -> Any:
    _check_file(place)
    try:
        with quiet():
            return torch.jit.load(place, map_location="cpu")
    except Exception as error:
        raise InvalidModelError(
            f"{place}: torch {torch.__version__} reads no TorchScript from it: {first_line(error)}",
            hint="A state dict or a pickled module needs its class: MODULE:FACTORY --weights state.pt.",
        ) from error


def _check_file(place: str) -> None:
    path = Path(place)
    if not path.is_file():
        raise InvalidModelError(f"{place}: {'is a folder' if path.is_dir() else 'no such file'}")


def _looked_up(source: Source) -> Any:
    found = _module(source)
    done = source.place
    for part in source.attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise InvalidRequestError(
                f"{done} has no {part!r}", hint=did_you_mean(part, _own_names(found))
            ) from error
        done = f"{done}:{part}"
    return found


def _own_names(found: Any) -> list[str]:
    """What is defined there, and not imported from elsewhere."""
    home = getattr(found, "__module__", None) or getattr(found, "__name__", None)
    return [
        name
        for name, value in vars(found).items()
        if not name.startswith("_") and getattr(value, "__module__", home) == home
    ]


def _module(source: Source) -> Any:
    """Imports the user's module, with the current folder on the path as `python -m` has it."""
    is_file = source.place.endswith(".py")
    folder = str(Path(source.place).resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = Path(source.place).stem if is_file else Path(source.place).name
    if is_file:
        _check_file(source.place)
    try:
        with user_prints_aside():
            return _executed(name, source.place) if is_file else importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise InvalidRequestError(
                f"no module {error.name!r} in {folder} or among the installed ones",
                hint="Run the command in the module's folder, or name its file: folder/file.py:FACTORY.",
            ) from error
        raise InvalidRequestError(f"{source.place} does not import: {told(error)}") from error
    except (Exception, SystemExit) as error:
        raise InvalidRequestError(f"{source.place} does not import: {told(error)}") from error


def _executed(name: str, place: str) -> Any:
    """A file as a module of its own name, whatever else is called so."""
    spec: Any = importlib.util.spec_from_file_location(name, place)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _made(torch: Any, source: Source, found: Any) -> Any:
    """The module that a factory or a class makes; a module itself is one already."""
    if isinstance(found, torch.nn.Module):
        return found
    if not callable(found):
        raise InvalidRequestError(
            f"{source.text} is a {type(found).__name__}, neither a factory nor an nn.Module"
        )
    _check_takes_nothing(source, found)
    try:
        with user_prints_aside():
            made = found()
    except (Exception, SystemExit) as error:
        raise InvalidRequestError(f"{source.text} fails: {told(error)}") from error
    if not isinstance(made, torch.nn.Module):
        raise InvalidRequestError(
            f"{source.text} gives a {type(made).__name__}, not an nn.Module",
            hint="Name a function without arguments that returns the module.",
        )
    return made


def _check_takes_nothing(source: Source, found: Any) -> None:
    try:
        needed = [
            parameter.name
            for parameter in inspect.signature(found).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
    except (TypeError, ValueError):
        return
    if needed:
        raise InvalidRequestError(
            f"{source.text} wants arguments ({', '.join(needed)}), and is called without",
            hint="Write a function that makes the model: def my_model(): return Model(…).",
        )
