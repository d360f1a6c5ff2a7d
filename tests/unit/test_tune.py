"""The search of `farm tune`: in every world it ends, and gives the best engine among those that it tried."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.errors import InvalidSpecError
from farm.domain.tuning import Candidate, Demand, Trial, best_of, parse_latency_ms, parse_least
from farm.services.tune import LADDER, SHARES, Rung, Step, next_step

MS = st.floats(0.01, 100)
DB = st.floats(-10, 150)


class World:
    """What would come of every candidate, and what was tried."""

    def __init__(self, rungs: tuple[Rung, ...], figures: dict[Candidate, Trial], layers: int) -> None:
        self.rungs = rungs
        self.figures = figures
        self.layers = [(f"layer{number}",) for number in range(layers)]
        self.trials: dict[Candidate, Trial] = {}
        self.rankings: dict[str, list[tuple[str, ...]]] = {}
        self.steps: list[Step] = []

    def tune(self, demand: Demand) -> Trial | None:
        while not (step := next_step(self.rungs, demand, self.trials, self.rankings)).is_end:
            self.steps.append(step)
            assert len(self.steps) < 100, "it goes on for ever"
            if step.rank:
                assert step.rank not in self.rankings
                self.rankings[step.rank] = self.layers
            for candidate in step.candidates:
                assert candidate not in self.trials, "it was tried before"
                self.trials[candidate] = self.figures[candidate]
        return best_of(self.trials.values(), demand)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    words = draw(st.lists(st.sampled_from(LADDER), unique=True, max_size=5))
    rungs = tuple(Rung("tool 1", word, word != "fp32") for word in words)
    layers = draw(st.integers(0, 200))
    figures = {}
    for rung in rungs:
        names = [(f"layer{number}",) for number in range(layers)]
        for candidate in [rung.plain, *rung.keeping(names)]:
            figures[candidate] = draw(outcomes(candidate))
    return World(rungs, figures, layers)


def outcomes(candidate: Candidate) -> st.SearchStrategy[Trial]:
    measured = st.builds(
        Trial,
        st.just(candidate),
        st.integers(1, 9),
        MS,
        cosine=st.floats(0, 1),
        snr_db=DB,
        top1=st.floats(0, 1),
    )
    refused = st.just(Trial(candidate, why_not="not on a Sunday"))
    wrong = st.just(Trial(candidate, why_not="cosine", is_inaccurate=True))
    return st.one_of(measured, measured, refused, wrong)


DEMANDS = st.builds(
    Demand,
    st.just(8),
    st.none() | MS,
    st.dictionaries(st.sampled_from(["cosine", "top1"]), st.floats(0, 1), max_size=2),
)


@given(worlds(), DEMANDS)
def test_what_it_gives_meets_the_demand(world: World, demand: Demand) -> None:
    best = world.tune(demand)
    if best is not None:
        assert best.is_measured
        assert demand.max_latency_ms is None or (best.median_ms or 0) <= demand.max_latency_ms
        assert all((getattr(best, name) or 0) >= value for name, value in demand.least.items())


@given(worlds(), DEMANDS)
def test_nothing_that_it_tried_and_that_meets_the_demand_is_better(world: World, demand: Demand) -> None:
    best = world.tune(demand)
    for trial in world.trials.values():
        if trial.meets(demand):
            assert best is not None
            if demand.least:
                assert (best.median_ms or 0) <= (trial.median_ms or 0)
            else:
                assert (best.snr_db or 0) >= (trial.snr_db or 0)


@given(worlds(), DEMANDS)
def test_every_precision_is_tried_before_any_layer_is_kept(world: World, demand: Demand) -> None:
    world.tune(demand)
    if world.rungs:
        assert world.steps[0] == Step(tuple(rung.plain for rung in world.rungs))
        assert all(not candidate.kept_layers for candidate in world.steps[0].candidates)


@given(worlds(), DEMANDS)
def test_an_interrupted_search_goes_on_where_it_was(world: World, demand: Demand) -> None:
    whole = world.tune(demand)
    world.steps.clear()
    assert world.tune(demand) == whole
    assert world.steps == []


@given(worlds(), st.builds(Demand, st.just(8), st.none(), st.just({"cosine": 0.9})))
def test_layers_are_kept_only_where_that_may_beat_the_best(world: World, demand: Demand) -> None:
    world.tune(demand)
    known: dict[Candidate, Trial] = {}
    for step in world.steps:
        best = best_of(known.values(), demand)
        for candidate in step.candidates:
            if candidate.kept_layers and best is not None:
                plain = known[Candidate(candidate.toolchain, candidate.precision)]
                assert plain.is_inaccurate or (plain.median_ms or 0) < (best.median_ms or 0)
            known[candidate] = world.figures[candidate]


def a_trial(precision: str, median_ms: float, cosine: float, snr_db: float, kept: int = 0) -> Trial:
    layers = tuple(sorted(f"layer{number}" for number in range(kept)))
    return Trial(Candidate("tool 1", precision, layers), 1, median_ms, cosine, snr_db)


def a_world(*trials: Trial, layers: int = 100) -> World:
    words = dict.fromkeys(trial.candidate.precision for trial in trials)
    rungs = tuple(Rung("tool 1", word, word not in ("fp32", "tf32")) for word in words)
    return World(rungs, {trial.candidate: trial for trial in trials}, layers)


def test_the_worst_layers_are_kept_until_the_accuracy_holds() -> None:
    world = a_world(
        a_trial("fp32", 4.0, 1.0, 120),
        a_trial("fp16", 2.0, 0.9995, 60),
        a_trial("int8", 1.0, 0.98, 20),
        a_trial("int8", 1.1, 0.99, 25, kept=1),
        a_trial("int8", 1.3, 0.9992, 40, kept=4),
    )
    best = world.tune(Demand(8, least={"cosine": 0.999}))
    assert best is not None
    assert (best.candidate.precision, len(best.candidate.kept_layers)) == ("int8", 4)
    # Sixteen were not tried: they could only be slower.
    assert max(len(candidate.kept_layers) for candidate in world.trials) == 4


def test_keeping_layers_ends_where_it_is_slower_than_what_meets_the_demand_already() -> None:
    world = a_world(
        a_trial("fp16", 2.0, 0.9999, 60),
        a_trial("int8", 1.0, 0.98, 20),
        a_trial("int8", 2.1, 0.99, 25, kept=1),
    )
    best = world.tune(Demand(8, least={"cosine": 0.999}))
    assert best is not None
    assert best.candidate == Candidate("tool 1", "fp16")


def test_within_a_latency_the_most_accurate_is_given() -> None:
    world = a_world(
        a_trial("fp32", 4.0, 1.0, 120),
        a_trial("fp16", 2.0, 0.9995, 60),
        a_trial("fp16", 2.5, 0.9996, 64, kept=1),
        a_trial("fp16", 2.9, 0.9997, 70, kept=4),
        a_trial("fp16", 3.5, 0.9999, 90, kept=16),  # too slow, so nothing more is kept
    )
    best = world.tune(Demand(8, max_latency_ms=3.0))
    assert best is not None
    assert len(best.candidate.kept_layers) == 4


def test_where_nobody_can_tell_which_layers_hurt_none_is_kept() -> None:
    world = a_world(a_trial("int8", 1.0, 0.5, 3), layers=0)
    assert world.tune(Demand(8, least={"cosine": 0.999})) is None
    assert world.steps == [Step((Candidate("tool 1", "int8"),)), Step(rank="int8")]


def test_an_engine_without_figures_meets_nothing() -> None:
    unmeasured = Trial(Candidate("tool 1", "fp16"), 7, why_not="no GPU here runs it")
    assert not unmeasured.meets(Demand(1))
    assert not unmeasured.meets(Demand(1, least={"cosine": 0.1}))


def test_more_and_more_layers_are_kept_each_with_all_its_nodes() -> None:
    names = [(f"conv{number}", f"relu{number}") for number in range(8)]
    kept = [candidate.kept_layers for candidate in Rung("t", "fp16", True).keeping(names)]
    assert kept == [
        ("conv0", "relu0"),
        ("conv0", "conv1", "relu0", "relu1"),
        tuple(sorted(name for layer in names[:4] for name in layer)),
    ]
    assert tuple(sorted(SHARES)) == SHARES


@pytest.mark.parametrize(
    ("text", "milliseconds"), [("2ms", 2.0), ("500us", 0.5), ("0.1s", 100.0), ("3", 3.0), (" 1.5 ms ", 1.5)]
)
def test_a_latency_has_a_unit_or_is_in_milliseconds(text: str, milliseconds: float) -> None:
    assert parse_latency_ms(text) == pytest.approx(milliseconds)


@pytest.mark.parametrize("text", ["", "fast", "2h", "0ms", "-1ms", "1e3"])
def test_what_is_no_latency_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpecError, match="not a latency"):
        parse_latency_ms(text)


@pytest.mark.parametrize(
    "given", [{"cosin": 0.9}, {"cosine": "high"}, {"cosine": 1.5}, {"top1": float("nan")}]
)
def test_what_is_no_accuracy_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpecError):
        parse_least(given)


def test_accuracies_are_read_as_numbers() -> None:
    assert parse_least({"cosine": "0.999", "snr_db": 40}) == {"cosine": 0.999, "snr_db": 40.0}
