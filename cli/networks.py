"""`farm submit SOURCE.py:FUNCTION`: a network that a function defines with TensorRT's own API."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.context import CommaSeparated
from farm.domain.errors import InvalidModelError, InvalidSpecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.build_request import Wish
    from farm.domain.models import Tensor

#: Of PyTorch's files of weights.
_TORCH = (".pt", ".pth")


def network_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what a network of TensorRT's API is made of."""
    for option in (
        click.option(
            "--output",
            "declared_outputs",
            multiple=True,
            type=CommaSeparated(),
            help="An output of a network that a function defines: scores:Nx10; repeatable.",
        ),
        click.option(
            "--input",
            "declared_inputs",
            multiple=True,
            type=CommaSeparated(),
            help="An input of a model that a function defines: data:Nx1x28x28, ids:int32:1x128; repeatable.",
        ),
        click.option(
            "--weights",
            type=click.Path(path_type=Path),
            help="Weights of a network that a function defines: an .npz, or a state dict of PyTorch.",
        ),
    ):
        command = option(command)
    return command


def place_of_function(model: Path) -> tuple[Path, str] | None:
    """The Python file and the function that `SOURCE.py:FUNCTION` or `MODULE:FUNCTION` names; none if it is no such word.

    Args:
        model: the word; the folder before a module's name is where it is looked for.
    """
    place, colon, function = str(model).rpartition(":")
    if not colon or not function.isidentifier() or not place:
        return None
    path = Path(place)
    if path.suffix == ".py":
        return path, function
    module = path.parent / Path(*path.name.split(".")).with_suffix(".py")
    return (module, function) if module.is_file() else None


def network_document(ctx: click.Context, wish: Wish) -> Path | None:
    """Puts a network's files together for as long as the command runs; none if the model is something else.

    Returns:
        The document, which is read like any other model.

    Raises:
        InvalidModelError: a file of it can not be taken.
        InvalidSpecError: weights or outputs are given for a model that is no network.
    """
    from farm.storage.network_files import write_network
    from farm.storage.network_source import defines_network

    place = place_of_function(wish.model_path())
    weights = wish.values.get("weights")
    # A function that makes a PyTorch module has no parameter `network`.
    if place is None or not defines_network(*place):
        for key, option in (("weights", "--weights"), ("declared_outputs", "--output")):
            if wish.values.get(key):
                raise InvalidSpecError(
                    f"{option} is for a network that a function defines, and {wish.model_path().name} is none",
                    hint="farm submit SOURCE.py:FUNCTION --weights weights.npz",
                )
        return None
    folder = Path(ctx.with_resource(tempfile.TemporaryDirectory(prefix="farm-network-")))
    converted = Path(ctx.with_resource(tempfile.TemporaryDirectory(prefix="farm-weights-")))
    return write_network(
        folder,
        *place,
        _weights(Path(weights), converted) if weights else None,
        _tensors(wish, "declared_inputs"),
        _tensors(wish, "declared_outputs"),
    )


def _weights(path: Path, folder: Path) -> Path:
    """The `.npz` with a network's weights: the file itself, or one made of a state dict."""
    if not path.is_file():
        raise InvalidModelError(f"{path}: no such file", hint="Check the path of --weights.")
    if path.suffix not in _TORCH:
        return path
    from workers.state_dict import convert_state_dict

    return convert_state_dict(path, folder / f"{path.stem}.npz")


def _tensors(wish: Wish, key: str) -> list[Tensor]:
    from farm.domain.networks import parse_tensor

    return [parse_tensor(str(word)) for word in wish.values.get(key, ())]
