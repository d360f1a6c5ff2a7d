"""The second engine of a comparison, placed beside the first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from farm.domain.comparisons import ORDER
from farm.domain.errors import NotFoundError
from farm.domain.io_formats import IO_SCALES
from workers.child.rival_request import Rival
from workers.materials import timed_calls
from workers.plugin_files import place_plugins, plugin_paths_in
from workers.vouching import place_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from farm.bootstrap import Farm
    from farm.domain.digests import Digest
    from farm.domain.filing import Engine
    from farm.domain.models import Model
    from farm.domain.work import Job
    from workers.child.requests import AttemptResult


@dataclass(frozen=True)
class PlacedRival:
    """An engine in a folder of its own.

    Attributes:
        engine: as it is filed.
        model: of the engine.
        job: that compares, with the rival's spec in the place of its own.
        folder: with its files.
    """

    engine: Engine
    model: Model
    job: Job
    folder: Path

    def request(self, first: Job, inputs: Path | None) -> Rival:
        """What the child is told.

        Args:
            first: the job as it is.
            inputs: the samples of the first engine; those of another model do not fit.
        """
        has_same_model = first.spec.model_sha256 == self.engine.spec.model_sha256
        return Rival(
            engine_path=self.folder / "engine",
            timed_calls=timed_calls(self.model, self.job),
            inputs_path=inputs if has_same_model else None,
            plugin_paths=plugin_paths_in(self.folder, self.job),
            io_scales=self.engine.details.get(IO_SCALES, {}),
        )


def place_rival(
    farm: Farm,
    job: Job,
    folder: Path,
    prepare: Callable[[str], None],
    insist: Callable[[Callable[[], Any]], Any],
) -> PlacedRival | None:
    """Writes the engine that a job holds the filed one against to a file; none where it does not.

    Raises:
        NotFoundError: it was given up since the job was queued.
        UntrustedEngineError: nobody trusted has signed it.
        CorruptArtifactError: the store has other bytes.
    """
    wanted = job.request.against
    if not wanted:
        return None
    prepare("fetching the engine to compare with")

    def find() -> tuple[Engine, Model]:
        with farm.database.reading() as transaction:
            found = transaction.engines.get(wanted)
            return found, transaction.models.get(found.spec.model_sha256)

    engine, model = insist(find)
    if engine.retired_at is not None:
        raise NotFoundError(
            f"engine {engine.id} that was to be compared with was retired since: its bytes are gone",
            hint="Submit its model again, and compare with the new engine.",
        )
    placed = PlacedRival(engine, model, replace(job, spec=engine.spec), folder / "rival")
    placed.folder.mkdir()
    place_engine(farm, engine, engine.spec, placed.folder / "engine", insist)
    place_plugins(farm, placed.job, placed.folder, prepare, insist)
    return placed


def comparison_document(
    rival: PlacedRival | None, job: Job, first: Digest | None, result: AttemptResult
) -> Mapping[str, Any]:
    """What is filed of a comparison: which two engines, and what came of it; empty where there was none."""
    if rival is None or first is None or not result.comparisons:
        return {}
    second = rival.engine
    return {
        "order": ORDER,
        "a": {"engine_sha256": first.sha256, "key": job.spec.digest.sha256},
        "b": {
            "engine": second.id,
            "engine_sha256": second.digest.sha256,
            "key": second.spec.digest.sha256,
        },
        "results": [comparison.as_json() for comparison in result.comparisons],
    }
