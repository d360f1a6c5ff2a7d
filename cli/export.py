"""`farm export`: PyTorch to an ONNX file that is checked, and agrees with PyTorch."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.build_request import checked_seed
from cli.context import CommaSeparated, flattened, json_option, opened
from cli.model_documents import model_as_json, tensor_row
from cli.render import show_json, show_line, show_note, show_table, size
from cli.sources import opset_limit, source_options
from farm.domain.errors import FarmError, InvalidSpecError, UnsupportedTargetError
from farm.domain.targets import parse_toolchain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.domain.models import Model
    from farm.domain.toolchains import ToolchainDescription
    from workers.export.request import Exported, ExportRequest


@click.command(short_help="Export a PyTorch model to ONNX, and compare the two.")
@click.argument("source")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    help="[NAME=]SHAPE[:DTYPE[:LOW..HIGH]] of one input, in the order of forward: 1x3x224x224, "
    "ids=1x128:int64:0..30521; repeatable.",
)
@source_options
@click.option(
    "--target",
    "targets",
    multiple=True,
    type=CommaSeparated(),
    help="A toolchain that is to read it, such as tensorrt@8.6: it limits the opset.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="A file .onnx; one that is there is replaced. [default: the model's name and .onnx]",
)
@click.option("--output-names", multiple=True, type=CommaSeparated(), help="Names of the outputs, in order.")
@click.option(
    "--weights", type=click.Path(path_type=Path), help="A state dict that is loaded into the model."
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    help="Greatest error, as a share of an output's largest value. [default: 0.001; 0.03 for 16-bit outputs]",
)
@click.option("--no-compare", is_flag=True, help="Write the file without a look at what it computes.")
@click.option(
    "--seed",
    type=int,
    default=0,
    help="Of weights that the factory draws, and of the samples.",
)
@click.option("--verbose", is_flag=True, help="Show the whole trace of what went wrong.")
@json_option
@click.pass_context
def export(ctx: click.Context, /, **given: Any) -> None:
    """Export SOURCE from PyTorch to ONNX.

    SOURCE is MODULE:FACTORY (imported from the current folder, called without arguments; an nn.Module or its
    class will do), FILE.py:FACTORY, a torch.export program (.pt2), or TorchScript (.ts, .pt). The result is
    checked, its constants are folded, and what it computes is compared with PyTorch, with --dynamic at another
    size too. Nothing is written unless they agree.

    \b
    farm export nets:resnet --input 1x3x224x224 --dynamic batch -o resnet.onnx
    farm export nets:encoder --input ids=1x128:int64:0..30521 --input mask=1x128:int64 \\
        --dynamic ids:0=batch,1=length --dynamic mask:0=batch,1=length --target tensorrt@8.6
    farm export model.pt2
    """
    try:
        request = _request(ctx, given)
        if not given["as_json"]:
            show_note(f"exporting {given['source']} to {request.path}")
        exported, model = _exported(request, is_quiet=given["as_json"])
    except FarmError as error:
        cause = error.__cause__
        if given["verbose"] and cause is not None:
            show_note("".join(traceback.format_exception(cause)).rstrip())
        raise
    if given["as_json"]:
        show_json({**exported.as_json(), "model": model_as_json(model)})
    else:
        _show(exported, model)


def _request(ctx: click.Context, given: dict[str, Any]) -> ExportRequest:
    from workers.export.inputs import parse_dynamic, parse_input
    from workers.export.pipeline import check_path
    from workers.export.request import Exporter, ExportRequest
    from workers.export.sources import parse_source

    source = parse_source(given["source"])
    if source is None:
        raise InvalidSpecError(
            f"not a PyTorch model: {given['source']!r}",
            hint="Name MODULE:FACTORY, FILE.py:FACTORY, a .pt2 program, or TorchScript (.ts, .pt).",
        )
    path = (given["output"] or Path(f"{source.name}.onnx")).absolute()
    # Before anything is said of it, or loaded.
    check_path(path)
    limit, limited_by = opset_limit(_descriptions(ctx, flattened(given["targets"])))
    return ExportRequest(
        source=source,
        path=path,
        inputs=tuple(map(parse_input, given["inputs"])),
        dynamic=tuple(map(parse_dynamic, given["dynamic"])),
        opset=given["opset"] or 0,
        max_opset=limit,
        limited_by=limited_by,
        exporter=Exporter(given["exporter"]) if given["exporter"] else None,
        output_names=flattened(given["output_names"]),
        weights=given["weights"],
        tolerance=given["tolerance"],
        compares=not given["no_compare"],
        seed=checked_seed(given["seed"]),
    )


def _exported(request: ExportRequest, *, is_quiet: bool) -> tuple[Exported, Model]:
    from farm.storage.onnx_files import read_model
    from workers.export.pipeline import export as run

    exported = run(request, (lambda _line: None) if is_quiet else show_note)
    # As `farm submit` will read it.
    return exported, read_model(exported.path)


def _descriptions(ctx: click.Context, words: Sequence[str]) -> list[ToolchainDescription]:
    """The toolchains that the words mean: those that this farm knows, and released ones that it has not met.

    Raises:
        UnsupportedTargetError: nobody knows such a toolchain.
    """
    known = _known_toolchains(ctx) if words else []
    found: list[ToolchainDescription] = []
    for word in words:
        wanted = parse_toolchain(word)
        matching = [description for description in known if description.id.matches(wanted)]
        if not matching:
            matching = [_released(wanted)]
        found += matching
    return found


def _known_toolchains(ctx: click.Context) -> list[ToolchainDescription]:
    try:
        farm = opened(ctx)
        with farm.database.reading() as transaction:
            return list(transaction.fleet.toolchains())
    except FarmError:
        # A PyTorch user may have no farm yet.
        return []


def _released(word: str) -> ToolchainDescription:
    from farm.domain.targets import ToolchainId
    from farm.domain.toolchains import ToolchainDescription
    from workers.toolchains.trt_release import max_opset_of

    name, _, version = word.partition("@")
    opset = max_opset_of(tuple(map(int, version.split(".")))) if name == "tensorrt" and version else 0
    if not opset:
        raise UnsupportedTargetError(
            f"which opset {word} reads is not known",
            hint="Say it: --opset 17. `farm toolchains` lists what is known.",
        )
    return ToolchainDescription(id=ToolchainId(name, version), precisions={}, max_opset=opset)


def _show(exported: Exported, model: Model) -> None:
    from workers.export.agreement import shapes_of, worst_line

    show_line(
        f"{exported.path.name}   {model.digest.short}   {size(model.digest.size_bytes)}, opset {exported.opset} "
        f"by the {exported.exporter.value} exporter{f' ({exported.why})' if exported.why else ''}"
    )
    rows = [("input", *tensor_row(tensor)) for tensor in model.inputs]
    rows += [("output", *tensor_row(tensor)) for tensor in model.outputs]
    show_table(["", "name", "type", "shape", ""], rows)
    if exported.comparisons:
        at = "; ".join(dict.fromkeys(shapes_of(comparison) for comparison in exported.comparisons))
        show_line(f"agrees with PyTorch: {worst_line(exported.comparisons)}, at {at}")
    else:
        show_line("not compared with PyTorch")
    for note in exported.notes:
        show_line(f"note: {note}")
