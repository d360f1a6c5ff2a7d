"""A canary's engine depends on its toolchain and driver alone."""

from __future__ import annotations

from tests.factories import a_cpu_toolchain, a_toolchain
from workers.canary_engine import without_other_libraries


def test_other_libraries_are_left_out_where_there_are_any() -> None:
    assert without_other_libraries(a_toolchain()) == {"tactic_sources": ["-CUBLAS", "-CUDNN"]}


def test_a_toolchain_that_uses_none_is_told_nothing() -> None:
    assert without_other_libraries(a_cpu_toolchain()) == {}
