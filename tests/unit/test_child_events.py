"""Events: JSON lines on a private copy of standard output."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from farm.domain.jobs import Phase
from workers.child.events import EventStream

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pipe:
    """A stream, and what came out at the other end."""

    def __init__(self) -> None:
        self.reading, writing = os.pipe()
        self.stream = EventStream(writing)

    def events(self) -> list[dict[str, Any]]:
        """What was written since the last time."""
        os.set_blocking(self.reading, False)
        try:
            return [json.loads(line) for line in os.read(self.reading, 1 << 20).splitlines()]
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Both ends."""
        for end in (self.reading, self.stream._lines.fileno()):
            with suppress(OSError):
                os.close(end)
        with suppress(OSError):
            self.stream._lines.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A stream with somebody at its other end."""
    made = Pipe()
    yield made
    made.close()


def test_a_phase_is_told_at_once_and_goes_along_with_what_follows(pipe: Pipe) -> None:
    pipe.stream.enter(Phase.BUILD, "begins")
    pipe.stream.progress(0.5, "half\nway ü")
    assert pipe.events() == [
        {"phase": "build", "fraction": None, "message": "begins"},
        {"phase": "build", "fraction": 0.5, "message": "half\nway ü"},
    ]
    assert pipe.stream.phase == "build"


def test_most_of_a_flood_is_dropped_but_never_its_end(pipe: Pipe) -> None:
    pipe.stream.enter(Phase.BENCHMARK)
    for step in range(1000):
        pipe.stream.progress(step / 1000, "step")
    pipe.stream.progress(1.0, "done")
    events = pipe.events()
    assert len(events) < 100
    assert events[-1] == {"phase": "benchmark", "fraction": 1.0, "message": "done"}


def test_progress_goes_on_after_a_pause(pipe: Pipe) -> None:
    pipe.stream.enter(Phase.VERIFY)
    pipe.stream.progress(0.1, "first")
    pipe.events()
    time.sleep(0.25)
    pipe.stream.progress(0.2, "second")
    assert [event["message"] for event in pipe.events()] == ["second"]


def test_a_listener_that_is_gone_ends_nothing(pipe: Pipe) -> None:
    os.close(pipe.reading)
    pipe.stream.enter(Phase.BUILD)
    pipe.stream.progress(1.0, "nobody hears it")


def test_an_end_that_is_told_over_and_over_is_told_once(pipe: Pipe) -> None:
    # A benchmark goes on beyond its least duration until it is sure.
    for _ in range(1000):
        pipe.stream.progress(1.0, "batch 8")
    pipe.stream.progress(1.0, "batch 32")
    assert [event["message"] for event in pipe.events()][:2] == ["batch 8", "batch 32"]
