"""Nothing that a child started outlives it or its worker."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.fake_toolchain.harness import FarmOfTest, is_alive, wait_until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("behaviour", ["fork", "daemon", "forgetful daemon"])
def test_what_a_child_started_is_gone_when_it_has_ended(make: Any, behaviour: str) -> None:
    attempt = make(behaviour)
    assert attempt.run().failure is None
    assert not is_alive(attempt.fake.grandchild())


def relatives(control: Path) -> list[int]:
    """Of the behaviour `family`, once all are there."""
    wait_until((control / "grown").exists)
    return [int(path.read_text()) for path in control.glob("relative-*")]


def test_a_whole_family_is_gone_at_the_deadline(make: Any) -> None:
    attempt = make("family")
    attempt.start()
    threading.Thread(target=lambda: relatives(attempt.fake.control)).start()
    outcome = attempt.end(should_stop=lambda: (attempt.fake.control / "grown").exists())
    assert outcome.was_stopped
    assert [pid for pid in relatives(attempt.fake.control) if is_alive(pid)] == []


def test_a_worker_that_is_killed_leaves_no_descendant(place: FarmOfTest) -> None:
    place.fake.does("family")
    with place.worker_process() as worker:
        place.submit()
        family = relatives(place.fake.control)
        below = [child.pid for child in psutil.Process(worker.pid).children(recursive=True)]
        assert set(family) <= set(below), "all of them are the worker's descendants, daemons too"
        worker.kill()
        wait_until(lambda: not [pid for pid in below if is_alive(pid)])


def test_a_child_whose_guardian_is_killed_dies_with_it(make: Any) -> None:
    attempt = make("kill the guardian")
    outcome = attempt.run()
    assert outcome.failure is not None
    assert "SIGKILL" in outcome.failure.message
    wait_until(lambda: not is_alive(attempt.fake.pid()))


def test_a_frozen_guardian_does_not_save_its_child(make: Any) -> None:
    attempt = make("hang")
    attempt.start()
    pid = attempt.fake.pid()
    os.kill(attempt.child.pid, signal.SIGSTOP)
    attempt.child.kill()
    wait_until(lambda: not is_alive(pid))
