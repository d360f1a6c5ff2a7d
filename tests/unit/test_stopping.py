"""How a worker hears that it is to stop: SIGTERM drains, a second signal gives back, a third one ends it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from workers.stopping import StopSignals


def test_sigterm_asks_it_to_drain() -> None:
    stop = StopSignals()
    stop.hear(signal.SIGTERM)
    assert stop.asked.is_set()
    assert not stop.now.is_set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_and_a_closed_terminal_give_back_at_once(number: signal.Signals) -> None:
    stop = StopSignals()
    stop.hear(number)
    assert stop.asked.is_set()
    assert stop.now.is_set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_gives_back_what_was_draining(number: signal.Signals) -> None:
    stop = StopSignals()
    stop.hear(signal.SIGTERM)
    stop.hear(number)
    assert stop.now.is_set()


def test_a_second_ctrl_c_does_not_interrupt_giving_back_and_a_third_ends_the_process() -> None:
    script = (
        "import signal; from workers.stopping import StopSignals\n"
        "stop = StopSignals()\n"
        "stop.last_act = lambda: print('its last act', flush=True)\n"
        "stop.hear(signal.SIGINT); stop.hear(signal.SIGINT)\n"
        "print('still here', flush=True)\n"
        "stop.hear(signal.SIGINT)\n"
        "print('never said')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("still here\nits last act\n", 128 + signal.SIGINT)
