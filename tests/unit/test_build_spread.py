"""How the builds look that an engine was chosen from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cli.build_spread import kept_text, precision_text, refit_text, spread_text
from tests.behaviours.given import given_a_farm, given_a_finished_job
from tests.factories import a_build_spec
from tests.fakes import InMemoryDatabase

if TYPE_CHECKING:
    from farm.domain.filing import Engine


def an_engine(*builds: dict[str, Any]) -> Engine:
    database = InMemoryDatabase()
    given_a_farm(database)
    _, engine_id = given_a_finished_job(database)
    with database.reading() as transaction:
        return replace(transaction.engines.get(engine_id), details={"builds": list(builds)})


def a_build(sha256: str, *, verdict: str = "accurate enough", **medians: float) -> dict[str, Any]:
    return {
        "sha256": sha256,
        "verdict": verdict,
        "median_ms": {name.removeprefix("batch"): ms for name, ms in medians.items()},
    }


def test_the_spread_is_that_of_the_largest_batch() -> None:
    engine = an_engine(a_build("a", batch8=0.5, batch16=0.9), a_build("b", batch8=0.4, batch16=0.8))
    assert spread_text(engine) == "fastest of 2 builds (batch 16: 0.800 to 0.900 ms)"


def test_builds_that_were_refused_are_counted_and_do_not_widen_it() -> None:
    wrong = a_build("b", verdict="AccuracyError: it is wrong", batch8=0.1)
    engine = an_engine(a_build("a", batch8=0.5), wrong, a_build("c", batch8=0.4))
    assert spread_text(engine) == "fastest of 3 builds (batch 8: 0.400 to 0.500 ms), 1 of them refused"


def test_a_builder_that_always_gives_the_same_is_told_of() -> None:
    engine = an_engine(a_build("a", batch8=0.5), a_build("a", batch8=0.4))
    assert spread_text(engine).endswith("all of the same bytes")


def test_an_engine_of_one_build_has_no_spread() -> None:
    assert spread_text(an_engine()) == ""


def test_cells_of_one_precision_are_told_apart() -> None:
    plain = a_build_spec(precision="fp16")
    refit = replace(plain, refit_of="5" * 64)
    kept = replace(plain, kept_layers=("conv1", "conv2"))
    assert [precision_text(spec) for spec in (plain, refit)] == ["fp16", "fp16 (refit)"]
    assert [refit_text(spec) for spec in (plain, refit)] == ["", f"refit of {'5' * 12}"]
    assert [kept_text(spec) for spec in (plain, kept)] == ["", "2 node(s) in FP32"]
