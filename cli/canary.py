"""`farm canary`: whether devices are what they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cli.context import json_option, opened
from cli.render import NONE, ms, show_json, show_line, show_note, show_table
from farm.domain.canaries import comparable_ms
from farm.domain.errors import InvalidRequestError
from farm.domain.intervals import half_width_percent
from farm.services.canaries import accept_drift
from farm.services.targets import named_devices
from farm.services.wanted_device import wanted_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.domain.canaries import Canary, Suspicion
    from farm.domain.targets import Device
    from farm.services.ports import Transaction

_COLUMNS = ("measured", "toolchain", "driver", "median ms>", "±>", "against usual>", "verdict", "why")


@click.command(short_help="Show whether devices are what they were.")
@click.argument("device", required=False)
@click.option("--gpu", help="Only of this device type: h200, cpu, …")
@click.option(
    "--limit", type=click.IntRange(1), default=10, help="So many of each, the newest.  [default: 10]"
)
@click.option(
    "--accept", is_flag=True, help="The drift of DEVICE is how it is from now on: judge it by that."
)
@json_option
@click.pass_context
def canary(
    ctx: click.Context, device: str | None, gpu: str | None, limit: int, accept: bool, as_json: bool
) -> None:
    """List the canaries of DEVICE (its UUID, host or worker), or of every device: a fixed engine, timed now and then.

    A device whose canary is 3 % off its own history, or five robust deviations, is in doubt, with all that it has
    measured since its last good canary, until a canary is good again. Workers time canaries as FARM_CANARY says.

    \b
    farm canary
    farm canary gpu07 --limit 50
    """
    farm = opened(ctx)
    if accept:
        if not device:
            raise InvalidRequestError(
                "--accept is for one device", hint="Name it: `farm canary DEVICE --accept`."
            )
        with farm.database.transaction() as transaction:
            transaction.garbage.check_operator()
            uuid = wanted_device(transaction, device).uuid
            accept_drift(transaction, uuid, farm.settings.user)
        if not as_json:
            show_note(f"{uuid} is judged by what it is now; its runs that are in doubt stay so")
    with farm.database.reading() as transaction:
        devices = _devices(transaction, device, gpu)
        slugs = {type_: slug for slug, type_ in transaction.fleet.device_types().items()}
        suspects = transaction.canaries.suspects()
        found = {one.uuid: transaction.canaries.of_device(one.uuid) for one in devices}
    if as_json:
        show_json(
            [
                {
                    "device": one.uuid,
                    "host": one.host,
                    "device_type": slugs[one.device_type],
                    "suspect_since": suspects[one.uuid].since if one.uuid in suspects else None,
                    "suspect_reason": suspects[one.uuid].reason if one.uuid in suspects else None,
                    "canaries": [_as_json(each) for each in found[one.uuid][-limit:]],
                }
                for one in devices
            ]
        )
        return
    with_any = [one for one in devices if found[one.uuid]]
    for one in with_any:
        show_line(f"{one.uuid} on {one.host} ({slugs[one.device_type]}): {_standing(suspects.get(one.uuid))}")
        show_table(_COLUMNS, _rows(found[one.uuid], limit))
        show_line()
    if not with_any:
        show_note("No canary was timed yet: workers do it where FARM_CANARY is on, or drain.")


def _devices(transaction: Transaction, word: str | None, gpu: str | None) -> list[Device]:
    known = transaction.fleet.devices()
    if word:
        wanted = wanted_device(transaction, word).uuid
        known = [device for device in known if device.uuid == wanted]
    if gpu:
        types = transaction.fleet.device_types()
        allowed = {types[slug] for slug in named_devices(types, gpu)}
        known = [device for device in known if device.device_type in allowed]
    return known


def _standing(suspicion: Suspicion | None) -> str:
    if suspicion is None:
        return "trusted"
    return f"in doubt since {suspicion.since:%Y-%m-%d %H:%M} UTC: {suspicion.reason}"


def _rows(history: Sequence[Canary], limit: int) -> list[tuple[Any, ...]]:
    rows = []
    for at in range(max(len(history) - limit, 0), len(history)):
        one = history[at]
        change = _change_percent(one, history[:at])
        rows.append(
            (
                one.measured_at,
                str(one.toolchain),
                one.driver_version,
                ms(one.median_ms),
                f"{half_width_percent(one.interval_ms, one.median_ms):.2f} %" if one.interval_ms else NONE,
                f"{change:+.1f} %" if change is not None else NONE,
                one.verdict.value,
                one.reason,
            )
        )
    return rows


def _change_percent(canary: Canary, earlier: Sequence[Canary]) -> float | None:
    from statistics import median

    times = comparable_ms(canary, earlier)
    return 100 * (canary.median_ms / median(times) - 1) if times else None


def _as_json(canary: Canary) -> dict[str, Any]:
    return {
        "id": canary.id,
        "measured_at": canary.measured_at,
        "toolchain": str(canary.toolchain),
        "driver_version": canary.driver_version or None,
        "worker": canary.worker_id,
        "engine_sha256": canary.engine.sha256,
        "median_ms": canary.median_ms,
        "interval_ms": canary.interval_ms,
        "verdict": canary.verdict.value,
        "reason": canary.reason or None,
        "conditions": {name: value for name, value in canary.conditions.items() if name != "signed"},
    }
