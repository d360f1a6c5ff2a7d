"""Failure signatures: one cause has one, whatever the numbers and names in its message."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from farm.domain.signatures import pattern_of, signature_of
from tests.factories import a_failure


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("out of memory: 512 MiB asked", "out of memory: 9.5 MiB asked"),
        ("no file /var/a/model.onnx here", "no file /data/b.onnx here"),
        ("node 'conv_1' can not be fused", 'node "conv_99" can not be fused'),
        ("at 0x7f00aa: bad", "at 0x12: bad"),
        ("job j-7k2m9xq4tn fell silent", "job j-aaaaaaaaaa fell silent"),
        ("GPU-4a7d1c66-11 is gone", "GPU-ffffffff-22 is gone"),
        ("can not reach redis://a:6379/0", "can not reach redis://b/1"),
        ("artifact da5f6ad908e5… was altered", "artifact 0123456789ab… was altered"),
    ],
)
def test_what_differs_from_one_time_to_the_next_does_not_count(one: str, other: str) -> None:
    assert pattern_of(one) == pattern_of(other)
    assert signature_of(a_failure(message=one)) == signature_of(a_failure(message=other))


def test_words_code_and_phase_count() -> None:
    usual = signature_of(a_failure())
    assert len(usual) == 12
    assert signature_of(a_failure(message="the host ran out of memory")) != usual
    assert signature_of(a_failure(code="DeviceUnavailableError")) != usual
    assert signature_of(a_failure(phase="verify")) != usual
    assert signature_of(a_failure(hint="Something else.")) == usual


@given(st.text())
@example("0/0")
@example("/''")
def test_a_patterns_pattern_is_itself(message: str) -> None:
    assert pattern_of(pattern_of(message)) == pattern_of(message)
