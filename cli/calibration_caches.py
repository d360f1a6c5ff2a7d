"""`farm caches` as far as it goes about calibration caches: their list, one of them in a file, disowning them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.context import json_option, opened
from cli.render import age, show_json, show_line, show_note, show_table, show_text, size

if TYPE_CHECKING:
    from farm.services.calibration_caches import CalibrationCacheReport

#: In place of an id.
ALL = "all"


def show_calibration_caches(ctx: click.Context, *, as_json: bool) -> None:
    """Every calibration cache: of which model, samples, algorithm and toolchain, and how often it was lent."""
    from farm.services.calibration_caches import report_calibration_caches

    with opened(ctx).database.reading() as transaction:
        reports = report_calibration_caches(transaction)
        now = transaction.now()
    if as_json:
        show_json([_document(report) for report in reports])
        return
    show_table(
        ["id", "model", "samples", "algorithm", "toolchain", "size>", "filed", "lent>"],
        [
            (
                report.id,
                report.model,
                report.cache.key.calibration_sha256[:12],
                report.cache.key.algorithm,
                str(report.cache.key.toolchain),
                size(report.cache.digest.size_bytes),
                age(report.cache.created_at, now),
                report.cache.lent,
            )
            for report in reports
        ],
        empty="No calibration cache is filed yet: INT8 builds with samples make them.",
    )


@click.command("show-calibration")
@click.argument("cache_id", metavar="ID")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A file. [default: standard output]")
@json_option
@click.pass_context
def show_calibration(ctx: click.Context, cache_id: str, output: Path | None, as_json: bool) -> None:
    """Write a calibration cache as TensorRT wrote it: trtexec takes it as --calib, ModelOpt reads its scales.

    \b
    farm caches --calibration
    farm caches show-calibration 3f5a9c0d1e2b -o resnet50.cache
    """
    from farm.services.calibration_caches import named_calibration_caches

    farm = opened(ctx)
    with farm.database.reading() as transaction:
        report = named_calibration_caches(transaction, cache_id)[0]
    digest = report.cache.digest
    if output is not None:
        farm.store.fetch(digest, output.absolute())
        if not as_json:
            show_note(f"{size(digest.size_bytes)} written to {output}")
    elif not as_json:
        show_text(b"".join(farm.store.chunks(digest)).decode(errors="replace"))
    if as_json:
        show_json({**_document(report), "path": None if output is None else str(output)})


def drop_calibration(ctx: click.Context, word: str, *, yes: bool, as_json: bool) -> None:
    """Disowns one calibration cache, or all of them.

    Raises:
        NotFoundError: there is none of that id.
    """
    from farm.services.calibration_caches import (
        drop_calibration_caches,
        named_calibration_caches,
        report_calibration_caches,
    )

    farm = opened(ctx)
    with farm.database.reading() as transaction:
        found = (
            report_calibration_caches(transaction)
            if word == ALL
            else named_calibration_caches(transaction, word)
        )
    if found and not yes and not as_json:
        click.confirm(f"Disown {len(found)} calibration cache(s)?", abort=True, err=True)
    dropped = drop_calibration_caches(farm.database, [report.cache.key for report in found])
    if as_json:
        show_json({"dropped": dropped})
    else:
        show_line(f"{dropped} calibration cache(s) disowned")


def _document(report: CalibrationCacheReport) -> dict[str, Any]:
    cache = report.cache
    return {
        "id": report.id,
        "model": report.model,
        "model_sha256": cache.key.model_sha256,
        "calibration_sha256": cache.key.calibration_sha256,
        "algorithm": cache.key.algorithm,
        "toolchain": str(cache.key.toolchain),
        "variant": cache.key.toolchain.variant,
        "sha256": cache.digest.sha256,
        "size_bytes": cache.digest.size_bytes,
        "created_at": cache.created_at,
        "lent": cache.lent,
    }
