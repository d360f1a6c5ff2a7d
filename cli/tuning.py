"""Goes through a tuning's steps: submits what is to be tried, waits, and reads what came of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cli.live import follow
from cli.render import show_note
from cli.submission import announce, file_submission
from cli.waiting import grace
from farm.domain.conversion import whole_conversion
from farm.domain.errors import ConflictError, FarmError
from farm.domain.profile_shapes import first_profile
from farm.domain.shapes import DYNAMIC
from farm.domain.tuning import Candidate, Demand, Trial
from farm.services.tune import Rung, can_keep_layers, conversion_of_cell, next_step, trial_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cli.submission import Prepared
    from farm.domain.specs import BuildSpec
    from farm.services.plan import PlannedCell
    from workers.conversion.sensitivity import SensitivityRequest

#: Layers are compared on so many samples at most.
_MOST_SAMPLES = 4


class Tuning:
    """One tuning, from the plan to the frontier.

    Args:
        request: a checked request with a cell for every precision that the target supports.
        demand: what an engine must reach.
        local: whether a worker runs in this process.
        as_json: whether nothing is to be said on the way.
    """

    def __init__(self, request: Prepared, demand: Demand, *, local: bool, as_json: bool) -> None:
        self._request = request
        self._demand = demand
        self._local = local
        self._as_json = as_json
        self._cells = {
            Candidate(str(cell.spec.target.toolchain), cell.spec.precision): cell
            for cell in request.plan.cells
        }
        self.rungs = [
            Rung(candidate.toolchain, candidate.precision, can_keep_layers(cell.spec, request.model))
            for candidate, cell in self._cells.items()
        ]
        self.trials: dict[Candidate, Trial] = {}
        self.rankings: dict[str, list[tuple[str, ...]]] = {}
        self.notes: list[str] = []

    def run(self) -> None:
        """Takes one step after the other, until there is nothing left to try.

        Raises:
            ConflictError: no live worker serves the target.
            FarmError: something can not be submitted.
        """
        while not (step := next_step(self.rungs, self._demand, self.trials, self.rankings)).is_end:
            if step.rank:
                self.rankings[step.rank] = self._rank(step.rank)
            else:
                self._try(step.candidates)

    def _try(self, candidates: Sequence[Candidate]) -> None:
        kept = len(candidates[0].kept_layers)
        words = ", ".join(candidate.precision for candidate in candidates)
        self._tell(f"trying {words}" + (f" with {kept} layer(s) in FP32" if kept else ""))
        cells = tuple(self._cell_of(candidate) for candidate in candidates)
        is_calibrated = any(cell.spec.calibration is not None for cell in cells)
        request = replace(
            self._request,
            plan=replace(self._request.plan, cells=cells),
            samples=self._request.samples if is_calibrated else None,
        )
        submission = file_submission(request, as_json=True)
        announce(request.farm)
        progress = follow(request.farm, submission.id, quiet=self._as_json, may_wait=grace(local=self._local))
        if progress.is_stuck:
            raise ConflictError(
                f"submission {submission.id} is queued, but no live worker serves its target",
                hint="Start a worker on such a machine (`farm up`, `farm worker`), or tune with --local here; "
                "what is built by then is not built again.",
            )
        for candidate, cell in zip(candidates, progress.cells, strict=True):
            self.trials[candidate] = trial_of(candidate, cell, self._demand)

    def _cell_of(self, candidate: Candidate) -> PlannedCell:
        cell = self._cells[Candidate(candidate.toolchain, candidate.precision)]
        return replace(cell, spec=replace(cell.spec, kept_layers=candidate.kept_layers))

    def _rank(self, precision: str) -> list[tuple[str, ...]]:
        """The layers that hurt most in a precision, the worst first; none where nobody can tell."""
        from workers.layer_ranking import rank_layers, ranked_names

        specs = [cell.spec for candidate, cell in self._cells.items() if candidate.precision == precision]
        specs = [spec for spec in specs if can_keep_layers(spec, self._request.model)]
        self._tell(f"comparing the layers of the model in {precision}")
        told: set[str] = set()

        def tell(message: str) -> None:
            if message not in told:
                told.add(message)
                self._tell(f"  {message}")

        try:
            layers = rank_layers(
                self._request.farm.settings, lambda folder: self._sensitivity(specs[0], folder), tell
            )
        except FarmError as error:
            self.notes.append(f"no layers were kept in FP32 in {precision}: {error.message}")
            return []
        # What converts the model names nodes that have no name; a parser of the model as it is does not.
        is_converted = all(conversion_of_cell(spec, self._request.model) is not None for spec in specs)
        return ranked_names(layers, any_name=is_converted)

    def _sensitivity(self, spec: BuildSpec, folder: Path) -> SensitivityRequest:
        from farm.domain.profiles import shapes_at_batch
        from workers.calibration import calibration_input
        from workers.conversion.request import ConversionRequest
        from workers.conversion.sensitivity import SensitivityRequest

        request, profile = self._request, first_profile(spec.profiles)
        wanted = conversion_of_cell(spec, request.model) or whole_conversion(
            spec.precision, spec.builder_config
        )
        graph = request.graph or request.folder / request.model.files[0].name
        shapes = shapes_at_batch(request.model, profile, self._demand.batch)
        for tensor in request.model.inputs:
            if tensor.shape[:1] == (DYNAMIC,):
                # Every tensor of the model is held at once.
                shapes[tensor.name] = (min(self._demand.batch, _MOST_SAMPLES), *shapes[tensor.name][1:])
        return SensitivityRequest(
            ConversionRequest(
                graph, folder / "converted.onnx", wanted, profile, calibration_input(spec, request.samples)
            ),
            request.inputs,
            shapes,
            request.job.verification.seed,
        )

    def _tell(self, line: str) -> None:
        if not self._as_json:
            show_note(line)
