"""`farm caches`: the timing and calibration caches that builds are lent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cli.calibration_caches import drop_calibration, show_calibration, show_calibration_caches
from cli.context import json_option, opened
from cli.render import age, percent, seconds, show_json, show_line, show_table, size

if TYPE_CHECKING:
    from farm.services.timing_caches import CacheReport


@click.group(invoke_without_command=True, short_help="Show the caches that builds are lent.")
@click.option(
    "--calibration", is_flag=True, help="The calibration caches of INT8 instead of the timing caches."
)
@json_option
@click.pass_context
def caches(ctx: click.Context, calibration: bool, as_json: bool) -> None:
    """Show every timing cache: whom it is lent to, how often it hits, and what it has saved.

    \b
    farm caches
    farm caches --calibration
    farm caches drop --gpu h200
    """
    if ctx.invoked_subcommand is not None:
        return
    if calibration:
        show_calibration_caches(ctx, as_json=as_json)
        return
    from farm.services.targets import slugs_of
    from farm.services.timing_caches import report_caches

    with opened(ctx).database.reading() as transaction:
        reports = report_caches(transaction)
        slugs = slugs_of(transaction)
        now = transaction.now()
    if as_json:
        show_json([_document(report, slugs) for report in reports])
        return
    show_table(
        [
            "device type",
            "toolchain",
            "flags",
            "size>",
            "updated",
            "lent>",
            "merged>",
            "hits of late>",
            "saved>",
        ],
        [
            (
                slugs.get(report.cache.key.target.device_type),
                str(report.cache.key.target.toolchain),
                report.cache.key.flags,
                size(report.cache.digest.size_bytes),
                age(report.cache.updated_at, now),
                report.cache.lent,
                report.cache.merged,
                percent(report.hit_ratio),
                seconds(report.cache.saved_s),
            )
            for report in reports
        ],
        empty="No timing cache is filed yet: builds with TensorRT make them.",
    )


@caches.command()
@click.option("--gpu", help="Timing caches of this device type, as in `farm caches`.")
@click.option("--flags", help="Only the cache of these flags. [default: all of the device type]")
@click.option("--calibration", metavar="ID", help="A calibration cache, by its id, or `all`.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
def drop(
    ctx: click.Context, gpu: str | None, flags: str | None, calibration: str | None, yes: bool, as_json: bool
) -> None:
    """Disown caches: the next builds time, or calibrate, everything anew.

    \b
    farm caches drop --gpu h200 --yes
    farm caches drop --calibration 3f5a9c0d1e2b
    """
    if calibration is not None and gpu is None and flags is None:
        drop_calibration(ctx, calibration, yes=yes, as_json=as_json)
        return
    if calibration is not None or gpu is None:
        raise click.UsageError("Give --gpu, for timing caches, or --calibration; one of them.")
    from farm.services.targets import named_devices
    from farm.services.timing_caches import drop_caches, matching, report_caches

    farm = opened(ctx)
    with farm.database.reading() as transaction:
        reports = report_caches(transaction)
        types = transaction.fleet.device_types()
    wanted = {types[slug] for slug in named_devices(types, gpu)}
    targets = [r.cache.key.target for r in reports if r.cache.key.target.device_type in wanted]
    keys = matching(reports, targets, flags)
    if keys and not yes and not as_json:
        click.confirm(f"Disown {len(keys)} timing cache(s)?", abort=True, err=True)
    dropped = drop_caches(farm.database, keys)
    if as_json:
        show_json({"dropped": dropped})
    else:
        show_line(f"{dropped} timing cache(s) disowned")


caches.add_command(show_calibration)


def _document(report: CacheReport, slugs: dict[Any, str]) -> dict[str, Any]:
    cache = report.cache
    return {
        "device_type": slugs.get(cache.key.target.device_type),
        "toolchain": str(cache.key.target.toolchain),
        "variant": cache.key.target.toolchain.variant,
        "flags": cache.key.flags,
        "sha256": cache.digest.sha256,
        "size_bytes": cache.digest.size_bytes,
        "updated_at": cache.updated_at,
        "lent": cache.lent,
        "merged": cache.merged,
        "hit_ratio": report.hit_ratio,
        "saved_s": cache.saved_s,
    }
