"""What one device is at, for `farm devices` and `farm workers`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farm.domain.canaries import Suspicion
    from farm.domain.fleet import Worker
    from farm.domain.targets import Device
    from farm.domain.work import Attempt


def device_document(
    device: Device,
    slug: str,
    live: Sequence[Worker],
    running: Mapping[str, Attempt],
    suspicion: Suspicion | None = None,
) -> dict[str, Any]:
    """A device with the job that it runs, and how far that is.

    Args:
        device: which.
        slug: of its type.
        live: the live workers of the fleet.
        running: the attempts that run, by the id of their worker.
        suspicion: that its canaries speak against it; none where they do not.
    """
    own = [worker for worker in live if worker.device.uuid == device.uuid]
    busy = next((worker for worker in own if worker.current_job), None)
    attempt = running.get(busy.id) if busy else None
    return {
        "uuid": device.uuid,
        "host": device.host,
        "device_type": slug,
        "state": _state(own, is_busy=busy is not None),
        "workers": [worker.name or worker.id for worker in own],
        "job": busy.current_job if busy else None,
        "phase": attempt.phase if attempt else None,
        "fraction": attempt.fraction if attempt else None,
        "waits": (attempt and attempt.waits) or None,
        "suspect_since": suspicion.since if suspicion else None,
        "suspect_reason": suspicion.reason if suspicion else None,
    }


def _state(own: Sequence[Worker], *, is_busy: bool) -> str:
    """What it is: unserved (no live worker), busy, drained (all take nothing new), or idle."""
    if not own:
        return "unserved"
    if is_busy:
        return "busy"
    return "drained" if all(worker.drain_reason for worker in own) else "idle"


def progress_text(phase: str | None, fraction: float | None, *, waits: bool = False) -> str | None:
    """A phase and how much of it is done, where that is known; whether it waits goes before both."""
    if waits:
        return "waiting"
    if not phase:
        return None
    return phase if fraction is None else f"{phase} {100 * fraction:.0f} %"
