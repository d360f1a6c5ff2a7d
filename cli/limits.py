"""The limits of a job, as `farm submit` and `farm retry` take them: deadlines, waiting, attempts, priority."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli.build_request import ATTEMPT
from farm.domain.errors import InvalidSpecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.build_request import Wish
    from farm.domain.work import JobRequest

Command = TypeVar("Command", bound="Callable[..., Any]")

_OPTIONS = (
    click.option("--max-attempts", type=int, help="How often a job may be tried. [default: 3]"),
    click.option(
        "--deadline",
        "deadlines",
        multiple=True,
        help="How long one attempt may take: 90s, 30m, 2h; build=1h for one phase (prepare, build, verify, benchmark, "
        "upload); repeatable. [default: 4h]",
    ),
    click.option(
        "--queue-timeout", help="How long a job may wait for a worker: 30m, 2h. [default: for ever]"
    ),
    click.option("--priority", type=int, help="-100 to 100; higher goes first. [default: 0]"),
)


def limit_options(command: Command) -> Command:
    """Gives a command the options of limits."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def limits_as_wish(given: dict[str, Any]) -> dict[str, Any]:
    """The options of limits under the names of a spec file."""
    return {
        "max_attempts": given["max_attempts"],
        "deadline": _deadlines(given["deadlines"]),
        "queue_timeout": given["queue_timeout"],
        "priority": given["priority"],
    }


def with_limits(request: JobRequest, wish: Wish) -> JobRequest:
    """A request with the limits that a wish names; the others stay.

    Raises:
        InvalidSpecError: one of them can not be.
    """
    from farm.domain.fairness import HIGHEST_PRIORITY, LOWEST_PRIORITY
    from farm.domain.jobs import Phase

    attempts = wish.number("max_attempts", request.max_attempts)
    if attempts < 1:
        raise InvalidSpecError("a job needs at least one attempt")
    priority = wish.number("priority", request.priority)
    if not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        raise InvalidSpecError(
            f"priority must be from {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}, not {priority}"
        )
    deadlines = wish.deadlines()
    waiting_s = wish.queue_timeout_s()
    return replace(
        request,
        max_attempts=attempts,
        deadline_s=deadlines.pop(ATTEMPT, request.deadline_s),
        phase_deadlines={
            **request.phase_deadlines,
            **{Phase(name): limit for name, limit in deadlines.items()},
        },
        queue_timeout_s=request.queue_timeout_s if waiting_s is None else waiting_s,
        priority=priority,
    )


def _deadlines(words: tuple[str, ...]) -> dict[str, str]:
    """`2h` and `build=1h` under the names of a spec file."""
    found = {}
    for word in words:
        phase, equals, span = word.partition("=")
        found[phase.strip() if equals else ATTEMPT] = (span if equals else phase).strip()
    return found
