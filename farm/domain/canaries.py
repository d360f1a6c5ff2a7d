"""Canaries: one fixed engine of a device, timed now and then, that tells whether the device is what it was.

A device is judged by its own history alone: by the same engine's bytes, under the same driver. Beyond 3 %, or five
robust standard deviations of that history where it is noisier than that, it has drifted, to whichever side: what is
measured on it does not compare with what was measured before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

if TYPE_CHECKING:
    from datetime import datetime

    from farm.domain.digests import Digest
    from farm.domain.targets import ToolchainId

#: So far from its history a device may be in any case, in percent: clocks of one card on different days differ by less.
ALLOWED_PERCENT = 3.0
#: And so many robust standard deviations.
ALLOWED_DEVIATIONS = 5.0
#: With fewer canaries nobody knows what is usual.
LEAST_HISTORY = 3
#: Older ones do not count: a device may change slowly, such as by dust.
MOST_HISTORY = 50
#: What makes the median absolute deviation of normal values their standard deviation.
_MAD_TO_DEVIATION = 1.4826


class Verdict(str, Enum):
    """What a canary says of its device."""

    #: As fast as before.
    GOOD = "good"
    #: There is too little history to tell; it counts as history from now on.
    LEARNING = "learning"
    #: The device is not what it was.
    DRIFTED = "drifted"
    #: Something else disturbed it, so it says nothing.
    DISTURBED = "disturbed"
    #: It had drifted, and an operator says that this is how the device is now.
    ACCEPTED = "accepted"


#: Those whose times are history.
_COUNTED = (Verdict.GOOD, Verdict.LEARNING, Verdict.ACCEPTED)


@dataclass(frozen=True)
class Canary:
    """One canary.

    Attributes:
        device_uuid: of the device.
        toolchain: that built the engine, and runs it.
        engine: digest of the engine's bytes.
        host: name of the device's machine.
        driver_version: of the device.
        worker_id: who timed it.
        median_ms: median of compute.
        interval_ms: lowest and highest value of the median at 95 %; none where it was not told.
        conditions: what the device was like meanwhile, and the engine's signed manifest.
        verdict: what it says of the device.
        reason: why, for people; empty for a good one.
        id: number of the row; 0 for one that is not filed yet.
        measured_at: when it was filed; none for one that is not yet.
    """

    device_uuid: str
    toolchain: ToolchainId
    engine: Digest
    host: str
    driver_version: str
    worker_id: str
    median_ms: float
    interval_ms: tuple[float, float] | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)
    verdict: Verdict = Verdict.LEARNING
    reason: str = ""
    id: int = 0
    measured_at: datetime | None = None


@dataclass(frozen=True)
class Suspicion:
    """That a device is not trusted.

    Attributes:
        since: since when.
        reason: why, for people.
    """

    since: datetime
    reason: str


def judged(
    canary: Canary, history: Sequence[Canary], disturbances: Sequence[str] = ()
) -> tuple[Verdict, str]:
    """What a canary says of its device, and why.

    Args:
        canary: just timed.
        history: the earlier ones of its device, oldest first; those of other engines and drivers do not count.
        disturbances: what disturbed it.
    """
    if disturbances:
        return Verdict.DISTURBED, "; ".join(disturbances)
    times = comparable_ms(canary, history)
    if len(times) < LEAST_HISTORY:
        return Verdict.LEARNING, f"{len(times)} of {LEAST_HISTORY} earlier canaries to compare with"
    usual = float(np.median(times))
    change = 100 * (canary.median_ms / usual - 1)
    limit = allowed_percent(times)
    if abs(change) <= limit:
        return Verdict.GOOD, ""
    word = "slower" if change > 0 else "faster"
    return Verdict.DRIFTED, (
        f"its canary took {canary.median_ms:.4g} ms, {abs(change):.1f} % {word} than the usual {usual:.4g} ms "
        f"(±{limit:.1f} % is allowed)"
    )


def comparable_ms(canary: Canary, history: Sequence[Canary]) -> list[float]:
    """The times that a canary is judged by, oldest first, in milliseconds.

    What an operator accepted is how the device is from then on: nothing before it counts.
    """
    found: list[float] = []
    for one in history:
        if (one.engine.sha256, one.driver_version) != (canary.engine.sha256, canary.driver_version):
            continue
        if one.verdict is Verdict.ACCEPTED:
            found.clear()
        if one.verdict in _COUNTED:
            found.append(one.median_ms)
    return found[-MOST_HISTORY:]


def allowed_percent(times_ms: Sequence[float]) -> float:
    """How far from the median of some times the next one may be, in percent of it."""
    times = np.asarray(times_ms, dtype=np.float64)
    usual = float(np.median(times))
    deviation = _MAD_TO_DEVIATION * float(np.median(np.abs(times - usual)))
    return max(ALLOWED_PERCENT, 100 * ALLOWED_DEVIATIONS * deviation / usual)


def last_good(history: Sequence[Canary]) -> Canary | None:
    """The newest canary that had nothing against its device; none if there is none."""
    return next((one for one in reversed(history) if one.verdict in _COUNTED), None)
