"""Found by Python at its start: shifts this process's wall clock by CHAOS_CLOCK_SHIFT_S seconds, and no other clock."""

from __future__ import annotations

import datetime
import os
import time


def _shift(seconds: int) -> None:
    true_time, true_time_ns = time.time, time.time_ns
    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: true_time_ns() + seconds * 1_000_000_000
    true = datetime.datetime
    shift = datetime.timedelta(seconds=seconds)

    class _Meta(type):
        # What C code makes are true datetimes, and must count as such.
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, true)

        def __subclasscheck__(cls, other: type) -> bool:
            return issubclass(other, true)

    class Shifted(true, metaclass=_Meta):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return true.now(tz) + shift

        @classmethod
        def utcnow(cls) -> datetime.datetime:
            return true.now(datetime.UTC).replace(tzinfo=None) + shift

        @classmethod
        def today(cls) -> datetime.datetime:
            return true.now() + shift

    Shifted.__name__ = Shifted.__qualname__ = "datetime"
    datetime.datetime = Shifted  # type: ignore[misc]


if os.environ.get("CHAOS_CLOCK_SHIFT_S"):
    _shift(int(os.environ["CHAOS_CLOCK_SHIFT_S"]))
