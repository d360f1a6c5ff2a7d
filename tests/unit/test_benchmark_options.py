"""How engines are timed, said on a command line or in a spec file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import pytest

from cli.benchmark_options import benchmark_as_wish, benchmark_of, benchmark_options
from cli.build_request import Wish
from cli.spec_files import read_wish, wish_of, write_wish
from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.errors import InvalidSpecError

if TYPE_CHECKING:
    from pathlib import Path

LINE = (
    "--method=trtexec-11 --streams 1,2 --streams 8 --flush-l2 --warmup-ms=50 --duration-ms=100 --max-duration-ms=900 "
    "--interval-percent=2.5"
)
SAID = BenchmarkSpec(
    method="trtexec-11",
    streams=(1, 2, 8),
    flush_l2=True,
    warmup_ms=50,
    duration_ms=100,
    max_duration_ms=900,
    precision_percent=2.5,
    # Who says how long means it, however short an iteration is.
    max_iterations=2_000_000,
)


@click.command()
@benchmark_options
def timed(**_given: Any) -> None:
    """A command with the options."""


def wish(line: str) -> Wish:
    return Wish().overridden_by(benchmark_as_wish(timed.make_context("timed", line.split()).params))


def test_the_options_say_how_an_engine_is_timed() -> None:
    assert benchmark_of(wish(LINE)) == SAID


def test_nothing_said_is_the_farms_own_way() -> None:
    assert wish("").values == {}
    assert benchmark_of(wish("")) == BenchmarkSpec()


def test_a_spec_file_says_the_same(tmp_path: Path) -> None:
    write_wish(wish(LINE), tmp_path / "spec.yaml")
    assert "streams:\n- 1\n- 2\n- 8\n" in (tmp_path / "spec.yaml").read_text()
    assert benchmark_of(read_wish(tmp_path / "spec.yaml")) == SAID


def test_a_command_line_wins_over_a_spec_file(tmp_path: Path) -> None:
    said = wish_of({"method": "plain", "streams": [4], "min_iterations": 30}, tmp_path)
    found = benchmark_of(said.overridden_by(wish("--method=trtexec-10").values))
    assert (found.method, found.streams, found.min_iterations) == ("trtexec-10", (4,), 30)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"method": "trtexec"}, "no method of timing is called 'trtexec'"),
        ({"streams": "many"}, "streams must be a whole number"),
        ({"streams": [0]}, "1 to 64 streams"),
        ({"flush_l2": "sometimes"}, "flush_l2 must be true or false"),
        ({"interval_percent": "narrow"}, "interval_percent must be a number"),
        ({"interval_percent": 0}, "0 to 100 % of the median, not 0 %"),
        ({"duration_ms": 100, "max_duration_ms": 50}, "can not end after 50 ms"),
    ],
)
def test_what_can_not_be_is_refused(tmp_path: Path, document: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidSpecError, match=reason):
        benchmark_of(wish_of(document, tmp_path))


def test_many_iterations_may_be_asked_for(tmp_path: Path) -> None:
    found = benchmark_of(wish_of({"min_iterations": 50_000}, tmp_path))
    assert found.max_iterations >= found.min_iterations == 50_000
