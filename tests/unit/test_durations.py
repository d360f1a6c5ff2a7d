"""Spans of time as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.durations import duration_text, parse_duration
from farm.domain.errors import InvalidSpecError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("7d", 604800), (" 5M ", 300)],
)
def test_a_span_is_whole_seconds(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "soon", "-5", "1.5h", "h", "5 minutes", "0s", "30m2h"])
def test_what_is_no_span_above_zero_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpecError, match="not a span of time"):
        parse_duration(text)


@given(st.integers(1, 86400 * 400))
def test_what_is_written_is_read_again_to_its_two_largest_units(seconds: int) -> None:
    assert 0 <= seconds - parse_duration(duration_text(seconds)) < max(60, seconds * 0.05)
