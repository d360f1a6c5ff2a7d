"""What a timing cache did for a build, as far as anybody knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from farm.domain.timing_caches import CacheUse
from tests.factories import a_cache_use


def test_hits_and_savings_are_told() -> None:
    use = a_cache_use(lent="ab", entries_before=30, entries_after=40, hits=90, cold_build_s=100.0)
    assert (use.timed, use.hit_ratio, use.saved_s) == (10, 0.9, 40.0)
    assert CacheUse.from_json(use.as_json()) == use


@pytest.mark.parametrize(
    ("unknown", "derived"),
    [
        ("entries_before", "timed"),
        ("entries_after", "hit_ratio"),
        ("hits", "hit_ratio"),
        ("lent", "saved_s"),
        ("cold_build_s", "saved_s"),
        ("build_s", "saved_s"),
    ],
)
def test_what_is_not_known_is_not_made_up(unknown: str, derived: str) -> None:
    use = a_cache_use(lent="ab", entries_before=30, entries_after=40, hits=90, cold_build_s=100.0)
    assert getattr(use, derived) is not None
    assert getattr(replace(use, **{unknown: None}), derived) is None


def test_a_build_that_looked_nothing_up_has_no_ratio() -> None:
    assert a_cache_use(entries_before=0, entries_after=0, hits=0).hit_ratio is None


def test_a_note_of_a_later_release_is_read() -> None:
    assert CacheUse.from_json({**a_cache_use().as_json(), "invented": 1}) == a_cache_use()
