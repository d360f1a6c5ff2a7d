"""The one tree of errors: what its text draws is what the classes are."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from farm.domain import errors
from farm.domain.errors import FarmError
from farm.domain.jobs import FailureClass


class Entry(NamedTuple):
    """One line of the drawing."""

    depth: int
    name: str
    exit_code: int | None


def drawn() -> list[Entry]:
    """The tree in the module's text."""
    line = re.compile(r"^    ((?:│   |    |├─ |└─ )*)(\w+Error)\b.*?(?:\s(?:exit )?(\d+))?$")
    found = [line.match(text) for text in (errors.__doc__ or "").splitlines()]
    return [
        Entry((len(match[1]) + 1) // 4 if match[1] else 0, match[2], int(match[3]) if match[3] else None)
        for match in found
        if match
    ]


def defined(error: type[FarmError], depth: int = 0) -> list[tuple[int, str]]:
    """The tree of classes, children in the order of their definition."""
    below = [child for child in error.__subclasses__() if child.__module__ == errors.__name__]
    return [(depth, error.__name__), *(entry for child in below for entry in defined(child, depth + 1))]


def every_error() -> list[type[FarmError]]:
    return [getattr(errors, name) for _, name in defined(FarmError)]


def test_the_drawing_shows_every_class_in_its_place() -> None:
    assert [(entry.depth, entry.name) for entry in drawn()] == defined(FarmError)


def test_exit_codes_are_as_drawn_and_inherited_where_nothing_is() -> None:
    codes: dict[int, int] = {}
    for depth, name, exit_code in drawn():
        codes[depth] = codes[depth - 1] if exit_code is None else exit_code
        assert getattr(errors, name).exit_code == codes[depth], name


def test_every_branch_has_an_exit_code_of_its_own() -> None:
    branches = [entry.exit_code for entry in drawn() if entry.depth <= 1]
    assert None not in branches
    assert len(set(branches)) == len(branches)


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.__name__)
def test_every_error_decides_what_happens_next_by_a_known_class(error: type[FarmError]) -> None:
    assert FailureClass(error.failure_class)


def test_only_the_branch_of_transient_errors_is_tried_again() -> None:
    retried = {error.__name__ for error in every_error() if error.failure_class == "transient"}
    assert retried == {name for _, name in defined(errors.TransientError)}


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.__name__)
def test_an_error_says_what_happened_and_what_to_do_next(error: type[FarmError]) -> None:
    raised = error("it broke", hint="Mend it.")
    assert (str(raised), raised.message, raised.hint) == ("it broke", "it broke", "Mend it.")
    assert error("it broke").hint == ""
