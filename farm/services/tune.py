"""The search of `farm tune`: what is to be tried next, from what came of the rest. It touches nothing itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.domain.conversion import conversion_of
from farm.domain.errors import AccuracyError
from farm.domain.jobs import JobState
from farm.domain.medians import medians_ms
from farm.domain.precisions import is_quantized
from farm.domain.tuning import Candidate, Demand, Trial, best_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from farm.domain.conversion import Conversion
    from farm.domain.models import Model
    from farm.domain.specs import BuildSpec
    from farm.services.progress import CellProgress

#: From the most accurate to the fastest, as it is on most devices; each is tried where it is supported.
LADDER = ("fp32", "tf32", "bf16", "fp16", "int8+fp16", "int8", "fp8+fp16", "fp8")
#: How many of the layers that hurt most stay in FP32, one after the other.
SHARES = (0.01, 0.04, 0.16, 0.5)
#: Without any 16-bit or 8-bit part there is nothing that a layer could be kept out of.
_WHOLE = ("fp32", "tf32", "best")


@dataclass(frozen=True)
class Rung:
    """One way to build for the target.

    Attributes:
        toolchain: as text.
        precision: of the ladder.
        can_keep_layers: whether single layers can stay in FP32.
    """

    toolchain: str
    precision: str
    can_keep_layers: bool

    @property
    def plain(self) -> Candidate:
        """Without any layer kept."""
        return Candidate(self.toolchain, self.precision)

    def keeping(self, ranking: Sequence[Sequence[str]]) -> list[Candidate]:
        """With more and more of the layers that hurt most kept in FP32; the worst come first in the ranking."""
        counts = dict.fromkeys(math.ceil(share * len(ranking)) for share in SHARES)
        kept = [{name for layer in ranking[:count] for name in layer} for count in counts if count]
        return [Candidate(self.toolchain, self.precision, tuple(sorted(names))) for names in kept]


@dataclass(frozen=True)
class Step:
    """What to do next: build some candidates, or find out which layers hurt in a precision; nothing at the end."""

    candidates: tuple[Candidate, ...] = ()
    rank: str = ""

    @property
    def is_end(self) -> bool:
        """Whether there is nothing left to try."""
        return not self.candidates and not self.rank


def next_step(
    rungs: Sequence[Rung],
    demand: Demand,
    trials: Mapping[Candidate, Trial],
    rankings: Mapping[str, Sequence[Sequence[str]]],
) -> Step:
    """What to try next.

    Args:
        rungs: the ways to build for the target.
        demand: what an engine must reach.
        trials: what became of the candidates that were tried.
        rankings: by precision the layers that hurt most, the worst first, each by the names of its nodes; empty where
            nobody could tell.
    """
    plain = tuple(rung.plain for rung in rungs if rung.plain not in trials)
    if plain:
        return Step(plain)
    best = best_of(trials.values(), demand)
    for rung in _promising(rungs, demand, trials, best):
        if rung.precision not in rankings:
            return Step(rank=rung.precision)
        following = _next_kept(rung.keeping(rankings[rung.precision]), demand, trials, best)
        if following is not None:
            return Step((following,))
    return Step()


def _promising(
    rungs: Sequence[Rung], demand: Demand, trials: Mapping[Candidate, Trial], best: Trial | None
) -> Iterator[Rung]:
    """The rungs where keeping some layers in FP32 may give a better engine, the fastest first."""
    found = [rung for rung in rungs if rung.can_keep_layers and _may_gain(trials[rung.plain], demand, best)]
    return iter(sorted(found, key=lambda rung: trials[rung.plain].median_ms or 0.0))


def _may_gain(plain: Trial, demand: Demand, best: Trial | None) -> bool:
    """Whether more accuracy for less speed would help. Layers that are kept never make an engine faster."""
    if plain.is_inaccurate:
        # Nobody timed it, so nothing says that it would be too slow.
        return True
    if not plain.is_measured or not plain.is_fast(demand):
        return False
    if not demand.wants_speed:
        # Whatever is fast enough may become more accurate than the best.
        return True
    return not plain.is_accurate(demand) and _beats(plain, best)


def _next_kept(
    ladder: Sequence[Candidate], demand: Demand, trials: Mapping[Candidate, Trial], best: Trial | None
) -> Candidate | None:
    """The next candidate of a ladder that keeps more and more layers; none where going on makes no sense."""
    for candidate in ladder:
        trial = trials.get(candidate)
        if trial is None:
            return candidate
        if not trial.is_measured and not trial.is_inaccurate:
            # It could not be built, or not be timed: nor could one that keeps more.
            return None
        if trial.is_measured and not trial.is_fast(demand):
            return None
        if demand.wants_speed and (
            trial.is_accurate(demand) or (trial.is_measured and not _beats(trial, best))
        ):
            return None
    return None


def _beats(trial: Trial, best: Trial | None) -> bool:
    """Whether it is faster than the best that meets the demand."""
    if best is None or best.median_ms is None:
        return True
    return trial.median_ms is not None and trial.median_ms < best.median_ms


def conversion_of_cell(spec: BuildSpec, model: Model) -> Conversion | None:
    """How a cell's model is converted before it is built; none where it is built as it is."""
    return conversion_of(spec.target.toolchain, spec.precision, spec.builder_config, model)


def can_keep_layers(spec: BuildSpec, model: Model) -> bool:
    """Whether single layers of a cell can stay in FP32: by conversion of the model, or by TensorRT's constraints."""
    if spec.precision in _WHOLE or (is_quantized(spec.precision) and model.has_qdq_nodes):
        return False
    return conversion_of_cell(spec, model) is not None or spec.target.toolchain.name == "tensorrt"


def trial_of(candidate: Candidate, cell: CellProgress, demand: Demand) -> Trial:
    """What a cell of a submission that has ended says of a candidate."""
    failure = cell.job.failure if cell.job else None
    if cell.engine is None or (failure is not None and cell.state is not JobState.SUCCEEDED):
        why = failure.message if failure else cell.state.value.lower()
        return Trial(
            candidate,
            why_not=why,
            is_inaccurate=failure is not None and failure.code == AccuracyError.__name__,
        )
    run = cell.engine.latest_run
    worst = run.accuracy.worst if run and run.accuracy else None
    median = medians_ms(cell.engine.measurements).get(demand.batch)
    top1 = None
    if run and run.accuracy and worst:
        top1 = run.accuracy.label_top1 if run.accuracy.label_top1 is not None else worst.top1_agreement
    return Trial(
        candidate,
        cell.engine.id,
        median,
        worst.cosine if worst else None,
        worst.snr_db if worst else None,
        top1,
        why_not="" if worst and median is not None else cell.engine.unverified_reason or "not measured",
    )
