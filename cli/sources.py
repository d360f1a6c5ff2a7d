"""What the MODEL of `farm submit` is; a PyTorch model is exported, and its ONNX file submitted."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.baseline_options import PROGRAM, program_name
from cli.context import opened, settings_of
from cli.first_look import know_this_machine
from cli.networks import place_of_function
from cli.render import show_note
from farm.domain.baselines import TORCH
from farm.domain.errors import InvalidSpecError
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cli.build_request import Wish
    from farm.domain.toolchains import ToolchainDescription
    from workers.export.sources import Source

#: What this module reads in a spec file, for PyTorch models alone.
_OWN = ("dynamic", "opset", "exporter")
#: What it shares with networks that a function defines: an exported model has no use for them any more.
_SHARED = ("weights", "declared_inputs", "declared_outputs")
_EXPORTERS = ("dynamo", "legacy")
#: Take a `.pt2` program as it is.
_DIRECT = ("torch-tensorrt", *TORCH)


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how a PyTorch model becomes ONNX."""
    for option in (
        click.option(
            "--exporter",
            type=click.Choice(_EXPORTERS),
            help="PyTorch's exporter. [default: dynamo; legacy where opset or TorchScript ask for it]",
        ),
        click.option(
            "--opset",
            type=int,
            help="Operator set of the exported model. [default: the newest that all targets read]",
        ),
        click.option(
            "--dynamic",
            multiple=True,
            help="What stays dynamic in a PyTorch model: batch, or NAME:0=batch,2=height; repeatable.",
        ),
    ):
        command = option(command)
    return command


def sources_as_wish(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options under the names of a spec file."""
    return {
        "dynamic": given.get("dynamic", ()),
        "opset": given.get("opset"),
        "exporter": given.get("exporter"),
    }


def with_exported_model(ctx: click.Context, wish: Wish) -> Wish:
    """The wish with the ONNX file in place of a PyTorch model; the file lives as long as the command.

    Any other model is left as it is: ONNX, a network that a function defines, a program for a toolchain that
    takes programs.

    Raises:
        InvalidSpecError: an option of the export goes with a model that is none of PyTorch's.
        InvalidRequestError: the model can not be exported.
        AccuracyError: the exported model computes something else.
    """
    source = _source(wish)
    kept = program_name(wish, source)
    if source is None:
        for key in _OWN:
            if wish.values.get(key):
                raise InvalidSpecError(
                    f"--{key} is for PyTorch models, and {Path(wish.model_path()).name} is not exported",
                    hint="farm submit MODULE:FACTORY --input 1x3x224x224 --dynamic batch",
                )
        return wish
    from workers.export.inputs import parse_dynamic, parse_input
    from workers.export.pipeline import export
    from workers.export.request import Exporter, ExportRequest
    from workers.export.sources import check_place

    # Options are read before anything is loaded: a typing error shall not cost a minute.
    inputs = tuple(map(parse_input, wish.values.get("declared_inputs", ())))
    dynamic = tuple(map(parse_dynamic, wish.values.get("dynamic", ())))
    word = wish.values.get("exporter")
    if word and word not in _EXPORTERS:
        raise InvalidSpecError(f"there is no exporter {word!r}", hint=did_you_mean(str(word), _EXPORTERS))
    exporter = Exporter(word) if word else None
    # What can be seen without PyTorch is told without it.
    check_place(source)
    limit, limited_by = _limit_of_targets(ctx, wish)
    folder = Path(ctx.with_resource(tempfile.TemporaryDirectory(prefix="farm-exported-")))
    exported = export(
        ExportRequest(
            source=source,
            path=folder / f"{source.name}.onnx",
            inputs=inputs,
            dynamic=dynamic,
            opset=wish.number("opset", 0),
            max_opset=limit,
            limited_by=limited_by,
            exporter=exporter,
            output_names=tuple(wish.values.get("declared_outputs", ())),
            weights=Path(wish.values["weights"]) if wish.values.get("weights") else None,
            program_path=folder / kept if kept else None,
        ),
        show_note,
    )
    from workers.export.agreement import worst_line

    show_note(f"exported and compared with PyTorch: {worst_line(exported.comparisons)}")
    for note in exported.notes:
        show_note(f"note: {note}")
    values = {key: value for key, value in wish.values.items() if key not in (*_OWN, *_SHARED)}
    if kept:
        values[PROGRAM] = str(folder / kept)
    return replace(wish, values={**values, "model": str(exported.path)})


def opset_limit(descriptions: Sequence[ToolchainDescription]) -> tuple[int, str]:
    """The newest operator set that all of some toolchains read, and which one sets it; 0 if nobody knows a limit."""
    known = [
        (description.max_opset, str(description.id)) for description in descriptions if description.max_opset
    ]
    return min(known, default=(0, ""))


def _source(wish: Wish) -> Source | None:
    from farm.storage.network_source import defines_network
    from workers.export.sources import SourceKind, parse_source

    path = wish.model_path()
    # As the user wrote it: options and spec files make paths of everything.
    source = parse_source(os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path))
    if source is None:
        return None
    if source.kind is SourceKind.PROGRAM:
        toolchains = wish.values.get("toolchain", ())
        is_direct = bool(toolchains) and all(word.partition("@")[0] in _DIRECT for word in toolchains)
        return None if is_direct else source
    place = place_of_function(path)
    if source.kind is SourceKind.FACTORY and place and place[0].is_file() and defines_network(*place):
        return None
    return source


def _limit_of_targets(ctx: click.Context, wish: Wish) -> tuple[int, str]:
    from farm.services.targets import resolve_targets

    farm = opened(ctx, create=settings_of(ctx).is_embedded)
    know_this_machine(farm)
    with farm.database.reading() as transaction:
        targets = resolve_targets(transaction, wish.values.get("gpu", ()), wish.values.get("toolchain", ()))
    return opset_limit([description for _, _, description in targets])
