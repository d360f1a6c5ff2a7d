"""What `farm submit` is told of shapes, of inputs and outputs, and of plugins; as options and in spec files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli.context import CommaSeparated
from farm.domain.errors import InvalidRequestError, InvalidSpecError
from farm.domain.io_formats import IoFormat, parse_io_formats
from farm.domain.shapes import parse_shape, parse_shapes, shape_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from farm.domain.digests import Digest
    from farm.domain.shapes import Shape
    from farm.services.ports import ArtifactStore, Database

Command = TypeVar("Command", bound="Callable[..., Any]")

#: The n-th of each makes the n-th optimization profile.
PROFILES = ("min_shapes", "opt_shapes", "max_shapes")
#: What this module reads and writes in a spec file.
SHAPE_KEYS = (*PROFILES, "static", "io_formats", "plugin")

_OPTIONS = (
    click.option(
        "--min-shapes",
        multiple=True,
        help="Smallest shapes: input:1x3x224x224,mask:1x224; of an input that holds a shape the values. Given several "
        "times, the n-th of each makes optimization profile n.",
    ),
    click.option("--opt-shapes", multiple=True, help="The shapes to tune for."),
    click.option("--max-shapes", multiple=True, help="Largest shapes."),
    click.option(
        "--static",
        multiple=True,
        help="Fix a dynamic model's inputs: input:8x3x224x224. It becomes a model of its own.",
    ),
    click.option(
        "--io-formats",
        multiple=True,
        help="Types and formats of inputs and outputs: input:fp16:chw16,output:int8:chw32. [default: the model's, chw]",
    ),
    click.option(
        "--plugin",
        "plugins",
        multiple=True,
        type=CommaSeparated(),
        help="A library of TensorRT plugins, loaded before the model is parsed; repeatable.",
    ),
)


def shape_options(command: Command) -> Command:
    """Gives a command the options of shapes, formats and plugins."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def shapes_as_wish(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options under the names of a spec file.

    Raises:
        InvalidSpecError: one is not well-formed.
    """
    plugins = [str(Path(word).absolute()) for words in given["plugins"] for word in words]
    return {
        **{key: tuple(map(parse_shapes, given[key])) for key in PROFILES},
        "static": parse_shapes(",".join(given["static"])),
        "io_formats": parse_io_formats(",".join(given["io_formats"])),
        "plugin": tuple(plugins),
    }


def shapes_from_file(path: Path, key: str, value: Any) -> Any:
    """The value of one of `SHAPE_KEYS` in a spec file.

    Raises:
        InvalidSpecError: it is not well-formed.
    """
    if key in PROFILES:
        return tuple(_shapes(path, key, item) for item in (value if isinstance(value, list) else [value]))
    if key == "static":
        return _shapes(path, key, value)
    if key == "io_formats":
        if isinstance(value, dict):
            return {str(name): str(IoFormat.parse(str(text))) for name, text in value.items()}
        return parse_io_formats(str(value))
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) and item for item in items):
        raise InvalidSpecError(f"{path}: {key} must be a path, or a list of paths")
    return tuple(items)


def shapes_for_file(key: str, value: Any, folder: Path) -> Any:
    """The inverse of `shapes_from_file`; paths become relative to the file's folder."""
    if key in PROFILES:
        written = [_written(shapes) for shapes in as_profiles(value)]
        return written[0] if len(written) == 1 else written
    if key == "static":
        return _written(value)
    return dict(value) if key == "io_formats" else [os.path.relpath(path, folder) for path in value]


def shapes_for_plan(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a `BuildRequest` is made with, from the values of a wish.

    Raises:
        InvalidRequestError: a plugin is no readable shared library.
    """
    return {
        **{key: as_profiles(values.get(key, ())) for key in PROFILES},
        "io_formats": values.get("io_formats", {}),
        "plugins": plugin_digests(plugin_paths(values)),
    }


def plugin_paths(values: Mapping[str, Any]) -> tuple[Path, ...]:
    """The plugin libraries of a wish, in the order of loading."""
    return tuple(map(Path, values.get("plugin", ())))


def inputs_with_ranges(values: Mapping[str, Any]) -> set[str]:
    """The inputs that a wish gives ranges for; a static one among them is given values."""
    given = [as_profiles(values.get(key, ())) for key in PROFILES]
    return {name for profiles in given for shapes in profiles for name in shapes}


def as_profiles(value: Any) -> tuple[Mapping[str, Shape], ...]:
    """Shapes as the plan takes them: a mapping alone is one profile."""
    return (value,) if isinstance(value, dict) else tuple(value)


def keep_plugins(
    database: Database, store: ArtifactStore, paths: Sequence[Path], digests: Sequence[str]
) -> None:
    """Stores plugin libraries.

    Args:
        database: told of them.
        store: that takes them.
        paths: of the libraries.
        digests: what they had when they were looked at.

    Raises:
        InvalidSpecError: one was changed meanwhile.
    """
    kept: list[Digest] = []
    for path, sha256 in zip(paths, digests, strict=True):
        digest = store.put_file(path)
        if digest.sha256 != sha256:
            raise InvalidSpecError(f"{path} was changed while it was submitted", hint="Try again.")
        kept.append(digest)
    if kept:
        with database.transaction() as transaction:
            for digest in kept:
                transaction.engines.add_artifact(digest, "plugin")


def plugin_digests(paths: Sequence[Path]) -> tuple[str, ...]:
    """The digests of plugin libraries.

    Raises:
        InvalidRequestError: one is no readable file, or no shared library.
        InvalidSpecError: one is given twice.
    """
    from farm.domain.digests import digest_of_file

    found: dict[str, Path] = {}
    for path in paths:
        try:
            with path.open("rb") as stream:
                head = stream.read(4)
        except OSError as error:
            raise InvalidRequestError(f"plugin {path} can not be read: {error.strerror}") from error
        if head != b"\x7fELF":
            raise InvalidRequestError(
                f"plugin {path} is no shared library of Linux",
                hint="Give the .so that the plugin was built to.",
            )
        sha256 = digest_of_file(path).sha256
        if sha256 in found:
            raise InvalidSpecError(f"plugins {found[sha256]} and {path} are the same library")
        found[sha256] = path
    return tuple(found)


def _shapes(path: Path, key: str, value: Any) -> dict[str, Shape]:
    if isinstance(value, str):
        return parse_shapes(value)
    if isinstance(value, dict):
        return {str(name): _shape(shape) for name, shape in value.items()}
    raise InvalidSpecError(f"{path}: {key} must map inputs to shapes such as 1x3x224x224")


def _shape(value: Any) -> Shape:
    return parse_shape("x".join(map(str, value)) if isinstance(value, list) else str(value))


def _written(shapes: Mapping[str, Shape]) -> dict[str, str]:
    return {name: shape_text(shape) for name, shape in shapes.items()}
