"""A GPU on which everything takes a millisecond more than the thing before, and what was done on it."""

from __future__ import annotations


class Clock:
    """The device's time, in milliseconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done: list[str] = []
        #: How often a model has set what holds for the whole process.
        self.settled = 0

    def do(self, what: str, takes: float = 0.0) -> None:
        """Something happens on the device."""
        self.done.append(what)
        self.now += takes


class Event:
    """A moment on it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.at = -1.0

    def record(self, _stream: object = None) -> None:
        """Now."""
        self.at = self._clock.now

    def synchronize(self) -> None:
        """Waits."""
        self._clock.done.append("wait")

    def elapsed_time(self, later: Event) -> float:
        """Milliseconds, as PyTorch says it."""
        assert min(self.at, later.at) >= 0
        return later.at - self.at

    def ms_till(self, later: Event) -> float:
        """The same as the farm says it."""
        return self.elapsed_time(later)

    def close(self) -> None:
        """Gives it back."""
        self._clock.done.append("close")
