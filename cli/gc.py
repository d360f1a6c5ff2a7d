"""`farm gc`, `farm pin` and `farm unpin`: what is kept, and what goes."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from cli.context import Pairs, json_option, opened
from cli.render import show_json, show_line, show_note, show_table, size
from farm.domain.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm.bootstrap import Farm
    from farm.domain.filing import Engine
    from farm.domain.garbage import RetireQuery, Sweep
    from farm.domain.targets import DeviceType

_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class Age(click.ParamType[float]):
    """`30d`, `24h`, `90m` or `4w`, in seconds."""

    name = "AGE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds."""
        if isinstance(value, (int, float)):
            return float(value)
        found = re.fullmatch(r"(\d{1,7})([smhdw])", str(value).strip())
        if not found:
            self.fail(f"{value!r} is no age: write 30d, 24h, 90m or 4w", param, ctx)
        return float(int(found[1]) * _UNIT_S[found[2]])


@click.command(short_help="Remove what nothing refers to, and engines that are given up.")
@click.option("--dry-run", is_flag=True, help="Say what would go and what it would free, and stop.")
@click.option("--yes", is_flag=True, help="Do it.")
@click.option(
    "--older-than",
    type=Age(),
    help="Only what is at least so old: 30d, 24h. [default: 24h for artifacts; needed for --engines without --tag]",
)
@click.option("--engines", "with_engines", is_flag=True, help="Retire engines as well, by age or by tag.")
@click.option(
    "--tag",
    type=Pairs(),
    help="With --engines: only those that nobody asked for without this tag.",
)
@json_option
@click.pass_context
def gc(
    ctx: click.Context,
    dry_run: bool,
    yes: bool,
    older_than: float | None,
    with_engines: bool,
    tag: tuple[str, str] | None,
    as_json: bool,
) -> None:
    """Remove artifacts that nothing refers to, and what killed writers left in the store.

    With --engines, engines are retired first: their bytes go, their measurements stay in history, and `farm submit`
    builds them anew. Pinned engines stay (`farm pin`), and so do those that a queued or running job needs.

    \b
    farm gc --dry-run
    farm gc --yes --older-than 7d
    farm gc --yes --engines --older-than 90d --tag purpose=experiment
    """
    from farm.services.garbage import collect
    from farm.services.model_names import newest_names

    if dry_run == yes:
        raise InvalidRequestError(
            "say whether to look or to remove: --dry-run or --yes",
            hint="`farm gc --dry-run` shows what would go.",
        )
    if tag and not with_engines:
        raise InvalidRequestError("--tag chooses engines", hint="Add --engines.")
    if with_engines and not tag and older_than is None:
        raise InvalidRequestError(
            "--engines would retire every engine that is not pinned",
            hint="Say which: --older-than 90d, or --tag name=value, or both.",
        )
    farm = opened(ctx)
    sweep = collect(
        farm.database,
        farm.store,
        grace_s=_grace(farm, older_than, with_engines),
        retire=_query(farm, older_than, tag) if with_engines else None,
        dry_run=dry_run,
        progress=(lambda _line: None) if as_json else show_note,
    )
    with farm.database.reading() as transaction:
        slugs = {device_type: slug for slug, device_type in transaction.fleet.device_types().items()}
        names = {sha256: str(name) for sha256, name in newest_names(transaction).items()}
    if as_json:
        show_json(_as_json(sweep, slugs, names))
    else:
        _show(sweep, slugs, names)


def _grace(farm: Farm, older_than: float | None, with_engines: bool) -> float:
    from farm.domain.stores import DEFAULT_GRACE_S
    from farm.services.garbage import check_grace

    least_s = farm.settings.least_grace_s
    if older_than is None or with_engines:
        # The age of an engine says nothing of the bytes that a worker uploads at this moment.
        return DEFAULT_GRACE_S
    return check_grace(older_than, least_s)


def _query(farm: Farm, older_than: float | None, tag: tuple[str, str] | None) -> RetireQuery:
    from farm.domain.garbage import RetireQuery

    if older_than is None:
        return RetireQuery(tag=tag)
    with farm.database.reading() as transaction:
        return RetireQuery(transaction.now() - timedelta(seconds=older_than), tag)


def _show(sweep: Sweep, slugs: Mapping[DeviceType, str], names: Mapping[str, str]) -> None:
    if sweep.engines:
        show_table(
            [
                "retired" if sweep.is_done else "to be retired",
                "model",
                "device type",
                "toolchain",
                "precision",
                "filed",
            ],
            [
                (
                    f"engine {engine.id}",
                    names.get(engine.spec.model_sha256, engine.spec.model_sha256[:12]),
                    slugs[engine.spec.target.device_type],
                    engine.spec.target.toolchain,
                    engine.spec.precision,
                    engine.created_at,
                )
                for engine in sweep.engines
            ],
        )
        show_line()
    verb = "frees" if not sweep.is_done else "freed"
    rows = [(kind, count, size(taken)) for kind, (count, taken) in _by_kind(sweep).items()]
    show_table(["what", "count>", f"{verb}>"], rows, empty="Nothing to remove.")
    if rows:
        show_line()
    show_line(
        f"{'freed' if sweep.is_done else 'would free'} {size(sweep.freed_bytes)}; "
        f"{sweep.kept_artifacts} artifact(s) of {size(sweep.kept_bytes)} stay"
        + (f", {sweep.too_young} of them unused but not old enough yet" if sweep.too_young else "")
    )
    if sweep.spared:
        show_note(f"{sweep.spared} artifact(s) were wanted again meanwhile, and stay")
    if sweep.leftovers.note:
        show_note(f"note: {sweep.leftovers.note}")
    if not sweep.is_done:
        show_note("Nothing was removed: `--yes` in place of `--dry-run` does it.")


def _by_kind(sweep: Sweep) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for item in sorted(sweep.artifacts, key=lambda item: item.kind):
        count, taken = found.get(item.kind, (0, 0))
        found[item.kind] = (count + 1, taken + item.stored.digest.size_bytes)
    if sweep.leftovers.count:
        found["left by killed writers"] = (sweep.leftovers.count, sweep.leftovers.size_bytes)
    return found


def _as_json(sweep: Sweep, slugs: Mapping[DeviceType, str], names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "done": sweep.is_done,
        "kept_before": sweep.kept_before,
        "engines": [
            {
                "id": engine.id,
                "model": names.get(engine.spec.model_sha256),
                "key": engine.spec.digest.sha256,
                "device_type": slugs[engine.spec.target.device_type],
                "toolchain": str(engine.spec.target.toolchain),
                "precision": engine.spec.precision,
                "digest": str(engine.digest),
                "created_at": engine.created_at,
            }
            for engine in sweep.engines
        ],
        "artifacts": [
            {"kind": item.kind, "digest": str(item.stored.digest), "kept_at": item.stored.kept_at}
            for item in sweep.artifacts
        ],
        "leftovers": vars(sweep.leftovers),
        "freed_bytes": sweep.freed_bytes,
        "spared": sweep.spared,
        "too_young": sweep.too_young,
        "kept_artifacts": sweep.kept_artifacts,
        "kept_bytes": sweep.kept_bytes,
    }


@click.command(short_help="Keep an engine, whatever its age.")
@click.argument("engine")
@click.option("--reason", required=True, help="Why; shown to whoever wonders.")
@json_option
@click.pass_context
def pin(ctx: click.Context, engine: str, reason: str, as_json: bool) -> None:
    """Keep ENGINE (its number, or the first digits of its digest or key) from `farm gc --engines`.

    \b
    farm pin 12 --reason "ships with release 4.1"
    farm pin da5f6ad908e5 --reason "baseline of the benchmark"
    """
    if not reason.strip():
        raise InvalidRequestError("--reason is empty", hint="Somebody will want to know.")
    with opened(ctx).database.transaction() as transaction:
        number = transaction.garbage.engine_id(engine)
        transaction.garbage.pin(number, reason.strip())
        found = transaction.engines.get(number)
    _show_pin(found, as_json, f"engine {number} is pinned: {found.pin_reason}")


@click.command(short_help="Let a pinned engine go when its time comes.")
@click.argument("engine")
@json_option
@click.pass_context
def unpin(ctx: click.Context, engine: str, as_json: bool) -> None:
    """Undo `farm pin`.

    \b
    farm unpin 12
    """
    with opened(ctx).database.transaction() as transaction:
        number = transaction.garbage.engine_id(engine)
        was_pinned = transaction.garbage.unpin(number)
        found = transaction.engines.get(number)
    _show_pin(found, as_json, f"engine {number} is not pinned{' any more' if was_pinned else ''}")


def _show_pin(engine: Engine, as_json: bool, line: str) -> None:
    if as_json:
        show_json({"id": engine.id, "pinned_at": engine.pinned_at, "reason": engine.pin_reason or None})
    else:
        show_line(line)
