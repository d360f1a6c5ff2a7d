"""`farm engines` and `farm models`: what is filed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.build_spread import spread_text
from cli.common_columns import without_common
from cli.context import json_option, opened
from cli.engine_remarks import remarks
from cli.render import show_json, show_line, show_note, show_table, size
from cli.tables import ENGINE_COLUMNS, engine_as_json, engine_rows, tainted_note
from farm.domain.precisions import PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from farm.domain.filing import Engine
    from farm.domain.targets import DeviceType
    from farm.domain.work import ModelName


@click.command(short_help="List filed engines with their figures.")
@click.argument("model", required=False)
@click.option("--gpu", help="Only of this device type: h200, cpu, …")
@click.option("--toolchain", help="Only of this toolchain: tensorrt, tensorrt@8.6, …")
@click.option("--precision", help="Only of this precision.")
@json_option
@click.pass_context
def engines(
    ctx: click.Context,
    model: str | None,
    gpu: str | None,
    toolchain: str | None,
    precision: str | None,
    as_json: bool,
) -> None:
    """List filed engines, of MODEL (`resnet50`, `resnet50@2`) or of all models, with their newest figures.

    \b
    farm engines resnet50
    farm engines resnet50 --gpu h200 --precision fp16 --json
    """
    from cli.filters import read_filter

    with opened(ctx).database.reading() as transaction:
        names = transaction.models.names()
        wanted = [transaction.models.named(model)] if model else names
        slugs = {device_type: slug for slug, device_type in transaction.fleet.device_types().items()}
        wanted_engines = read_filter(transaction, gpu, toolchain, precision)
        found = [
            (name, engine)
            for name in wanted
            for engine in transaction.engines.engines(model_sha256=name.model_sha256)
            if wanted_engines.passes(engine)
        ]
    found.sort(key=lambda pair: _order(pair[0], pair[1], slugs))
    if as_json:
        show_json(
            [{"model": n.name, "version": n.version, **engine_as_json(engine, slugs)} for n, engine in found]
        )
        return
    shared = _shared(engine for _, engine in found)
    rows = []
    for name, engine in found:
        own = engine_rows(engine, slugs)
        label = str(name)
        number = str(engine.id)
        remark = ", ".join(word for word in _remarks(engine) if word not in shared)
        rows += [
            [label, number, *row, remark] if position == 0 else ["", "", *row, ""]
            for position, row in enumerate(own)
        ]
    empty = (
        "No engine is filed yet: `farm submit` builds one."
        if (model, gpu, toolchain, precision) == (None,) * 4
        else "No filed engine matches; `farm engines` lists all."
    )
    columns = ["model", "engine>", *ENGINE_COLUMNS, ""]
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    said, columns, rows = without_common(columns, rows, ("device type", "toolchain", "method"))
    if said or shared:
        show_line(", ".join(filter(None, [said or "all:", *shared])).replace(":,", ":", 1))
    show_table(columns, rows, empty=empty)
    if note := tainted_note(rows):
        show_note(note)


def _remarks(engine: Engine) -> list[str]:
    """What tells an engine from another one of the same model, target and precision."""
    words = [*remarks(engine.spec), *filter(None, [spread_text(engine)])]
    return words + ["pinned"] * (engine.pinned_at is not None)


def _shared(engines_: Iterable[Engine]) -> list[str]:
    """What all of several engines have in common, which is said once."""
    words = [_remarks(engine) for engine in engines_]
    return [word for word in words[0] if all(word in own for own in words)] if len(words) > 1 else []


def _order(name: ModelName, engine: Engine, slugs: Mapping[DeviceType, str]) -> tuple[object, ...]:
    """By model, then by the parts of the key as a person reads them; the order of building says nothing."""
    toolchain = engine.spec.target.toolchain
    return (
        name.name,
        name.version,
        slugs[engine.spec.target.device_type],
        toolchain.name,
        toolchain.version_order,
        PRECISIONS.index(engine.spec.precision),
        engine.id,
    )


@click.command(short_help="List models and the versions of their names.")
@json_option
@click.pass_context
def models(ctx: click.Context, as_json: bool) -> None:
    """List every version of every model name.

    \b
    farm models
    """
    from cli.inspect import model_as_json

    with opened(ctx).database.reading() as transaction:
        found = [(name, transaction.models.get(name.model_sha256)) for name in transaction.models.names()]
        counts = {
            name.model_sha256: len(transaction.engines.engines(model_sha256=name.model_sha256))
            for name, _ in found
        }
    if as_json:
        show_json(
            [
                {
                    "name": name.name,
                    "version": name.version,
                    "created_at": name.created_at,
                    "engines": counts[name.model_sha256],
                    **model_as_json(model),
                }
                for name, model in found
            ]
        )
        return
    show_table(
        ["model", "version>", "digest", "size>", "parameters>", "inputs", "engines>", "since"],
        [
            (
                name.name,
                name.version,
                model.digest.short,
                size(model.digest.size_bytes),
                f"{model.parameters:,}",
                ", ".join(map(str, model.inputs)),
                counts[name.model_sha256],
                name.created_at,
            )
            for name, model in found
        ],
        empty="No model is filed yet: `farm submit model.onnx`.",
    )
