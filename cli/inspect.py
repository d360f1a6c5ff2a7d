"""`farm inspect`: what a model is, what an engine is, what a file is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.context import json_option, opened
from cli.engine_words import target_options
from cli.model_documents import model_as_json
from cli.render import show_json, show_text
from cli.sample_options import image_options
from farm.domain.errors import FarmError, InvalidRequestError, NotFoundError

if TYPE_CHECKING:
    from cli.engine_words import NamedEngine
    from farm.bootstrap import Farm

__all__ = ["inspect", "model_as_json"]

#: A word with one of these is a file, there or not.
_FILES = (".onnx", ".engine", ".plan", ".pt2")


@click.command(
    short_help="Show what a model or an engine is: operators, layers, precisions, formats, memory."
)
@click.argument("what", metavar="MODEL|ENGINE")
@target_options
@click.option("--batch", type=click.IntRange(1), help="Estimate a model at this batch size. [default: 1]")
@click.option("--shapes", help="Estimate a model at these shapes: input:8x3x224x224,mask:8x224")
@click.option(
    "--targets/--no-targets",
    "with_targets",
    default=None,
    help="Say what every known target makes of a model. [default: where there is a farm]",
)
@click.option("--sensitivity", help="What a precision does to every layer of a model: fp16, int8, …")
@click.option(
    "--inputs",
    type=click.Path(path_type=Path),
    help="Compare layers on these: a folder or list of images or arrays, an .npz. [default: random]",
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    help="Samples for 8 bits: a folder or list of images or arrays, an .npz, or `random`.",
)
@image_options
@click.option("--raw", is_flag=True, help="Print what an engine's inspector said, as it is.")
@json_option
@click.pass_context
def inspect(
    ctx: click.Context,
    /,
    what: str,
    gpu: str | None,
    toolchain: str | None,
    precision: str | None,
    batch: int | None,
    shapes: str | None,
    with_targets: bool | None,
    sensitivity: str | None,
    raw: bool,
    as_json: bool,
    **samples: Any,
) -> None:
    """Show what MODEL (a file) or ENGINE is: a number or a digest of `farm engines`, a job, a model's name, or a file.

    Of a model: inputs, outputs, operators, estimated work and memory, and what each target would refuse and why.
    Of an engine: layers with types, precisions, tactics and formats, memory, inputs and outputs. A model in a file
    needs no farm: nothing is stored or run.

    \b
    farm inspect resnet50.onnx --batch 8
    farm inspect resnet50.onnx --sensitivity int8 --calibration photos/
    farm inspect 12
    farm inspect resnet50 --gpu h200 --precision fp16 --json
    farm inspect final2.plan
    """
    path = Path(what)
    if sensitivity is not None:
        from cli.inspect_sensitivity import show_sensitivity

        show_sensitivity(
            ctx,
            path,
            sensitivity,
            samples=samples,
            batch=batch,
            shapes=shapes,
            as_json=as_json,
        )
        return
    if any(samples.values()):
        raise InvalidRequestError(
            "--inputs, --calibration and what is done to images are for comparing layers",
            hint="Say in which precision: --sensitivity int8.",
        )
    if path.exists() or path.suffix in _FILES:
        # What is called a model is read as one, and says what else it is.
        if path.suffix != ".onnx" and _is_plan(path):
            _show_plan(ctx, path, raw=raw, as_json=as_json)
        else:
            from cli.inspect_model import show_model

            show_model(ctx, path, batch=batch, shapes=shapes, with_targets=with_targets, as_json=as_json)
        return
    from cli.engine_words import find_engine

    if os.sep in what and not _has_farm(ctx):
        raise NotFoundError(f"{what}: no such file", hint="Check the path.")
    farm = opened(ctx)
    with farm.database.reading() as transaction:
        named = find_engine(transaction, what, gpu, toolchain, precision)
    _show_engine(farm, named, raw=raw, as_json=as_json)


def _show_engine(farm: Farm, named: NamedEngine, *, raw: bool, as_json: bool) -> None:
    from cli.engine_layers import layer_text, layers_of
    from cli.inspect_engine import engine_document, show_engine

    if raw:
        text = layer_text(farm, named.engine)
        if not text:
            raise InvalidRequestError(f"nothing that an inspector said of engine {named.engine.id} is filed")
        show_text(text if text.endswith("\n") else f"{text}\n")
        return
    with farm.database.reading() as transaction:
        model = transaction.models.get(named.engine.spec.model_sha256)
    layers = layers_of(farm, named.engine)
    if as_json:
        show_json(engine_document(named, model, layers))
    else:
        show_engine(named, model, layers)


def _is_plan(path: Path) -> bool:
    """Whether a file begins as TensorRT's engines do; older ones have another first letter."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return stream.read(4)[1:] == b"trt"
    except OSError:
        # Whoever reads it as a model says why it can not be read.
        return False


def _show_plan(ctx: click.Context, path: Path, *, raw: bool, as_json: bool) -> None:
    """A plan: whole if this farm has filed it, else what its first bytes say."""
    from cli.engine_words import find_engine
    from cli.inspect_engine import show_header
    from farm.domain.digests import digest_of_file

    digest = digest_of_file(path)
    try:
        farm = opened(ctx)
        with farm.database.reading() as transaction:
            named = find_engine(transaction, digest.sha256)
    except NotFoundError:
        # Nor is there a farm, perhaps.
        show_header(path, digest, as_json=as_json)
        return
    _show_engine(farm, named, raw=raw, as_json=as_json)


def _has_farm(ctx: click.Context) -> bool:
    try:
        opened(ctx)
    except FarmError:
        return False
    return True
