"""What is filed under a job's key already: measured by a benchmark, replaced by a rebuild."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from farm.domain.errors import BuildError, CorruptArtifactError, NotFoundError
from farm.domain.jobs import JobKind
from workers.conversion.weights import WeightsRequest
from workers.toolchains.toolchain import REFIT_WEIGHTS
from workers.vouching import place_engine
from workers.workplace import ChildFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from farm.domain.digests import Digest
    from farm.domain.filing import Engine
    from farm.domain.work import Job
    from workers.child_process import ChildOutcome
    from workers.workplace import Workplace

_log = logging.getLogger(__name__)


class FiledEngine:
    """The engine under the key of a job, as far as an attempt has to do with it."""

    def __init__(
        self, place: Workplace, job: Job, folder: Path, insist: Callable[[Callable[[], Any]], Any]
    ) -> None:
        self._place = place
        self._farm = place.farm
        self._job = job
        self._folder = folder
        self._insist = insist
        self._replaced: Engine | None = None
        #: The bytes that a benchmark measures; none for a build.
        self.measured: Digest | None = None
        #: What its build left behind.
        self.details: Mapping[str, Any] = {}

    def place_for_benchmark(self, path: Path) -> bool:
        """Writes the engine that a benchmark measures to a file; whether there is one.

        Raises:
            UntrustedEngineError: nobody trusted has signed it.
            CorruptArtifactError: the store has other bytes.
        """
        if self._job.request.kind is not JobKind.BENCHMARK:
            return False
        engine: Engine | None = self._insist(self._find)
        if engine is None:
            # One that was given up since the job was queued is built anew.
            return False
        place_engine(self._farm, engine, self._job.spec, path, self._insist)
        self.measured, self.details = engine.digest, engine.details
        return True

    def place_for_choice(self) -> tuple[Engine, Path] | None:
        """Writes the engine that several new builds contend with to a file; none where nothing does."""
        if not self._job.request.is_rebuild:
            return None
        self._replaced = self._insist(self._find)
        if self._replaced is None or self._job.request.builds == 1:
            return None
        path = self._folder / "filed"
        try:
            place_engine(self._farm, self._replaced, self._job.spec, path, self._insist)
        except (CorruptArtifactError, NotFoundError) as error:
            _log.warning("the filed engine is not among those to choose from: %s", error.message)
            return None
        return self._replaced, path

    def place_for_refit(
        self, model_path: Path, run: Callable[[Mapping[str, Any]], ChildOutcome]
    ) -> Path | None:
        """Writes the engine whose weights the job replaces to a file, the model's weights beside it.

        Args:
            model_path: of the model whose weights go in, converted if the cell asks for it.
            run: runs a request in a child of the farm's own interpreter.

        Returns:
            The engine's file; none for a job that builds.

        Raises:
            BuildError: the engine was given up or built anew since the job was queued.
            UntrustedEngineError: nobody trusted has signed it.
            ChildFailedError: the weights can not be read.
            UnsupportedTargetError: there is no interpreter here that could read them.
        """
        wanted = self._job.spec.refit_of
        if not wanted or self.measured is not None:
            return None
        self._place.require_onnxruntime("a refit needs the model's weights")
        engine: Engine | None = self._insist(lambda: self._find_bytes(wanted))
        if engine is None:
            raise BuildError(
                f"the engine {wanted[:12]}… whose weights were to be replaced is not filed any more",
                hint="The full build beside the refit does without it.",
            )
        folder = self._folder / "refit"
        folder.mkdir()
        place_engine(self._farm, engine, engine.spec, folder / "engine", self._insist)
        outcome = run(WeightsRequest(model_path, folder / REFIT_WEIGHTS).as_json())
        if failure := outcome.what_failed:
            raise ChildFailedError(failure)
        return folder / "engine"

    def _find_bytes(self, sha256: str) -> Engine | None:
        with self._farm.database.reading() as transaction:
            try:
                return transaction.engines.get(transaction.garbage.engine_id(sha256))
            except NotFoundError:
                return None

    def noted_in(self, details: Mapping[str, Any]) -> dict[str, Any]:
        """The details of a new engine with what it took the place of, and who wanted that."""
        if self._replaced is None:
            return dict(details)
        rebuild = {"by": self._job.request.rebuild_by, "in_place_of": self._replaced.digest.sha256}
        return {**details, "rebuild": rebuild}

    def _find(self) -> Engine | None:
        with self._farm.database.reading() as transaction:
            return transaction.engines.find(self._job.spec)
