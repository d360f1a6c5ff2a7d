"""Failpoints: named steps at which a test lets a process die, freeze or fail.

`FARM_FAILPOINTS=after-claim=kill,before-finish=sleep:5@2` arms two: the first one always, the second one at
its second passage only. Nothing is armed unless somebody says so, and then passing one costs a look at an
empty dictionary.
"""

from __future__ import annotations

import os
import signal
import threading
import time

from farm.domain.errors import InvalidRequestError, TransientError

#: Every step, with what has been done by then.
NAMES = {
    "after-insert": "the client committed a submission and has woken nobody",
    "after-publish": "the client woke the workers and has told its user nothing",
    "after-claim": "the worker committed a claim and has started nothing",
    "mid-build": "the child said that it builds",
    "after-upload": "the engine is in the store and filed nowhere",
    "before-finish": "everything is stored, and the attempt is about to be filed",
    "after-finish": "the attempt is filed, and its wake-up not acknowledged",
    "before-rescue": "the sweeper found a lease that ran out and has done nothing about it",
    "mid-rescue": "the sweeper wrote a rescue that is not committed",
}
_ACTIONS = ("kill", "stop", "raise", "sleep")

_armed: dict[str, tuple[str, float, int]] = {}
_passages: dict[str, int] = {}
_guard = threading.Lock()


def arm(text: str) -> None:
    """Arms what `name=action[:seconds][@passage]`, separated by commas, says; an empty text arms nothing.

    Raises:
        InvalidRequestError: there is no such failpoint or action.
    """
    armed = {}
    for part in filter(None, text.split(",")):
        name, _, order = part.partition("=")
        order, _, passage = order.partition("@")
        action, _, seconds = order.partition(":")
        if name not in NAMES or action not in _ACTIONS:
            raise InvalidRequestError(
                f"FARM_FAILPOINTS: {part!r} is no failpoint",
                hint=f"Write NAME=ACTION, with a name of {', '.join(NAMES)} and an action of {', '.join(_ACTIONS)}.",
            )
        try:
            armed[name] = (action, float(seconds or 0), int(passage or 0))
        except ValueError as error:
            raise InvalidRequestError(f"FARM_FAILPOINTS: {part!r} has a number that is none") from error
    _armed.clear()
    _armed.update(armed)


def reach(name: str) -> None:
    """Does what is armed for a step; nothing, as a rule.

    Raises:
        TransientError: the step was armed with `raise`.
    """
    if name not in _armed:
        return
    with _guard:
        _passages[name] = passage = _passages.get(name, 0) + 1
    action, seconds, wanted = _armed[name]
    if wanted not in (0, passage):
        return
    if action == "raise":
        raise TransientError(f"failpoint {name}")
    if action == "sleep":
        time.sleep(seconds)
        return
    os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)
