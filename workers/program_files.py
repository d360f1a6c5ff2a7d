"""The PyTorch model of a job, in the folder of its attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.jobs import JobKind
from workers.materials import place_read_only

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from farm.bootstrap import Farm
    from farm.domain.work import Job


def program_path_in(folder: Path, job: Job) -> Path | None:
    """Where it is; none for a job that is built from the model itself."""
    return folder / "program" / "program.pt2" if job.spec.program else None


def place_program(
    farm: Farm,
    job: Job,
    folder: Path,
    prepare: Callable[[str], None],
    insist: Callable[[Callable[[], Any]], Any],
) -> None:
    """Fetches a job's PyTorch model, verified, read-only; nothing where it has none, or its engine is built already.

    Raises:
        NotFoundError: the store has lost it.
        CorruptArtifactError: it was altered.
    """
    path = program_path_in(folder, job)
    if path is None or job.request.kind is JobKind.BENCHMARK:
        return
    prepare("fetching the PyTorch model")
    place_read_only(farm, job.spec.program, path, insist)
