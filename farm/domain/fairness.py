"""Who is next: priority first, then the user who has had least of the fleet of late, then age.

A user's share is the time of devices that the user's attempts took, halved every day: a thousand jobs of
last month weigh nothing, those of this morning nearly all they took. An attempt that runs counts for a
minute until it has ended and its true time is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

#: After so long what somebody had counts half.
HALF_LIFE_S = 24 * 3600.0
#: What an attempt that still runs counts for.
RUNNING_COUNTS_S = 60.0
LOWEST_PRIORITY, HIGHEST_PRIORITY = -100, 100


def decayed(device_s: float, age_s: float) -> float:
    """What seconds of a device still count for after so long."""
    return device_s * math.pow(0.5, max(age_s, 0.0) / HALF_LIFE_S)


@dataclass(frozen=True)
class Share:
    """What a user has had of the fleet of late.

    Attributes:
        device_s: seconds of devices, decayed to now.
        running: how many of the user's attempts run now.
    """

    device_s: float = 0.0
    running: int = 0

    @property
    def weight(self) -> float:
        """What counts: the user with the lowest is next."""
        return self.device_s + RUNNING_COUNTS_S * self.running


@dataclass(frozen=True)
class Lane:
    """The waiting jobs of one target, one priority and one user; the oldest that is due stands for it.

    Attributes:
        device_type_id: of the target, as the database counts them.
        toolchain_id: of the target.
        priority: of its jobs.
        user: who pays for them.
        head_created_at: when the oldest of them that is due was made.
    """

    device_type_id: int
    toolchain_id: int
    priority: int
    user: str
    head_created_at: datetime


def in_turn(lanes: Iterable[Lane], shares: Mapping[str, Share]) -> list[Lane]:
    """The lanes in the order in which they are served."""
    nobody = Share()
    return sorted(
        lanes,
        key=lambda lane: (-lane.priority, shares.get(lane.user, nobody).weight, lane.head_created_at),
    )
