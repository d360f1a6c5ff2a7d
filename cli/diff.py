"""`farm diff`: what differs between two engines, in their keys and in their layers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from cli.context import json_option, opened
from cli.engine_layers import layers_of
from cli.engine_words import find_engine, target_options
from cli.inspect_engine import short_name
from cli.render import NONE, ms, show_json, show_line, show_note, show_table, size
from cli.stored_profiles import medians, read_profiles
from farm.domain.key_difference import key_differences
from farm.domain.layer_diff import Fate, compare_layers
from farm.services.profiling import profiled_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.engine_words import NamedEngine
    from farm.bootstrap import Farm
    from farm.domain.key_difference import KeyDifference
    from farm.domain.layer_diff import LayerChange
    from farm.domain.layer_times import LayerProfile
    from farm.domain.layers import EngineLayers

_SHORT = 60


@click.command(short_help="Show what differs between two engines, in their keys and in their layers.")
@click.argument("first", metavar="ENGINE")
@click.argument("second", metavar="ENGINE")
@target_options
@click.option(
    "--batch", type=click.IntRange(1), help="Compare times at this batch size. [default: any that both have]"
)
@click.option("--all", "show_all", is_flag=True, help="Show layers too that are the same.")
@json_option
@click.pass_context
def diff(
    ctx: click.Context,
    first: str,
    second: str,
    gpu: str | None,
    toolchain: str | None,
    precision: str | None,
    batch: int | None,
    show_all: bool,
    as_json: bool,
) -> None:
    """Show what differs between two engines: the components of their keys, then their layers.

    Layers are matched by the model's nodes that they compute: fused, split, lost, added, or another precision,
    tactic or format. Where both have a profile (`farm profile`), each row has its times.

    An ENGINE is a number, a digest, a job, or a model's name with --gpu, --toolchain and --precision, which hold for
    both that are named so.

    \b
    farm diff 11 12
    farm diff resnet50 resnet50-pruned --gpu h200 --precision fp16
    farm diff 11 12 --all --json
    """
    farm = opened(ctx)
    with farm.database.reading() as transaction:
        pair = [find_engine(transaction, word, gpu, toolchain, precision) for word in (first, second)]
    differences = key_differences(pair[0].engine.spec, pair[1].engine.spec)
    told = [layers_of(farm, named.engine) for named in pair]
    profiles = _common_profiles(farm, pair, batch)
    times = [medians(profile) if profile else None for profile in profiles]
    changes = (
        compare_layers(told[0].layers, told[1].layers, times[0], times[1])
        if all(layers.layers for layers in told)
        else None
    )
    if as_json:
        show_json(_document(pair, differences, told, changes, profiles))
        return
    for sign, named in zip("-+", pair, strict=True):
        show_line(f"{sign} {named.title} · {size(named.engine.digest.size_bytes)}")
    _show_key(pair, differences)
    _show_layers(pair, told, changes, profiles, show_all=show_all)


def _common_profiles(
    farm: Farm, pair: Sequence[NamedEngine], batch: int | None
) -> tuple[LayerProfile | None, LayerProfile | None]:
    """Both engines' newest profiles at one batch size; none for both unless both have one."""
    runs = [profiled_run(named.engine, batch) for named in pair]
    if None in runs:
        return None, None
    found = [{each.batch: each for each in read_profiles(farm, run, batch)} for run in runs if run]
    common = sorted(set(found[0]) & set(found[1]))
    return (found[0][common[-1]], found[1][common[-1]]) if common else (None, None)


def _show_key(pair: Sequence[NamedEngine], differences: Sequence[KeyDifference]) -> None:
    show_line()
    if not differences:
        same = pair[0].engine.digest == pair[1].engine.digest
        show_line("Their keys are the same" + (", and so are their bytes." if same else "."))
        return
    show_table(
        ["key", "-", "+"],
        [[each.component, _text(each.before), _text(each.after)] for each in differences],
    )


def _show_layers(
    pair: Sequence[NamedEngine],
    told: Sequence[EngineLayers],
    changes: Sequence[LayerChange] | None,
    profiles: Sequence[LayerProfile | None],
    *,
    show_all: bool,
) -> None:
    show_line()
    if changes is None:
        for sign, named, layers in zip("-+", pair, told, strict=True):
            if not layers.layers:
                show_line(f"{sign} engine {named.engine.id}: no layers to compare. {layers.note}")
        return
    has_times = all(profiles)
    shown = [change for change in changes if show_all or change.fate is not Fate.SAME or _is_slower(change)]
    columns = ["", "-", "+", "what"] + (["- ms>", "+ ms>", "Δ ms>"] if has_times else [])
    rows = [_row(change, has_times=has_times) for change in shown]
    if rows:
        show_table(columns, rows)
        show_line()
    counts = Counter(change.fate.value for change in changes)
    show_line(
        f"{len(told[0].layers)} → {len(told[1].layers)} layers: "
        + ", ".join(f"{counts[fate.value]} {fate.value}" for fate in Fate if counts[fate.value])
    )
    if has_times:
        before, after = (profile.total_ms for profile in profiles if profile)
        batch = profiles[0].batch if profiles[0] else 0
        show_line(f"batch {batch}: {ms(before)} → {ms(after)} ms in all layers ({_percent(before, after)})")
    else:
        missing = [str(named.engine.id) for named in pair if profiled_run(named.engine) is None]
        what = f"`farm profile {missing[0]}`" if missing else "`farm profile --batch N` of both"
        show_note(f"No times: {what} makes a profile, at one batch size for both.")
    for note in dict.fromkeys(layers.note for layers in told if layers.note):
        show_line(note)


def _is_slower(change: LayerChange) -> bool:
    """Whether layers that look the same take noticeably another time."""
    if change.before_ms is None or change.after_ms is None:
        return False
    return abs(change.after_ms - change.before_ms) > 0.2 * max(change.before_ms, change.after_ms)


def _row(change: LayerChange, *, has_times: bool) -> list[Any]:
    what = ", ".join(f"{name}: {old} → {new}" for name, (old, new) in change.differences.items())
    row: list[Any] = [change.fate.value, _names(change.before), _names(change.after), what]
    if has_times:
        delta = None
        if change.before_ms is not None and change.after_ms is not None:
            delta = change.after_ms - change.before_ms
        row += [ms(change.before_ms), ms(change.after_ms), NONE if delta is None else f"{delta:+.3f}"]
    return row


def _names(layers: Sequence[Any]) -> str:
    text = " | ".join(short_name(layer.name) for layer in layers[:3])
    return text + (f" | and {len(layers) - 3} more" if len(layers) > 3 else "") or NONE


def _percent(before: float, after: float) -> str:
    return f"{100 * (after - before) / before:+.1f} %" if before else NONE


def _text(value: Any) -> str:
    text = NONE if value in (None, "", [], {}) else str(value)
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}…"


def _document(
    pair: Sequence[NamedEngine],
    differences: Sequence[KeyDifference],
    told: Sequence[EngineLayers],
    changes: Sequence[LayerChange] | None,
    profiles: Sequence[LayerProfile | None],
) -> dict[str, Any]:
    return {
        "engines": [
            {
                "id": named.engine.id,
                "model": named.model,
                "device_type": named.slug,
                "toolchain": str(named.engine.spec.target.toolchain),
                "precision": named.engine.spec.precision,
                "size_bytes": named.engine.digest.size_bytes,
                "digest": str(named.engine.digest),
                "layers": len(layers.layers),
                "precisions": layers.precisions(),
                "note": layers.note or None,
                "total_ms": profile.total_ms if profile else None,
            }
            for named, layers, profile in zip(pair, told, profiles, strict=True)
        ],
        "key": [each._asdict() for each in differences],
        "batch": profiles[0].batch if profiles[0] else None,
        "layers": None if changes is None else [change.as_json() for change in changes],
    }
