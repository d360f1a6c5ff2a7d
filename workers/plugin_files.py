"""The plugin libraries of a job, in the folder of its attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.materials import place_read_only

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from farm.bootstrap import Farm
    from farm.domain.work import Job


def plugin_paths_in(folder: Path, job: Job) -> tuple[Path, ...]:
    """Where the libraries are, in the order of loading; the names are made from their digests."""
    return tuple(folder / "plugins" / f"plugin-{sha256[:12]}.so" for sha256 in job.spec.plugins)


def place_plugins(
    farm: Farm,
    job: Job,
    folder: Path,
    prepare: Callable[[str], None],
    insist: Callable[[Callable[[], Any]], Any],
) -> None:
    """Fetches a job's plugin libraries, verified, read-only.

    Raises:
        NotFoundError: the store has lost one.
        CorruptArtifactError: one was altered.
    """
    for sha256, path in zip(job.spec.plugins, plugin_paths_in(folder, job), strict=True):
        prepare("fetching a plugin library")
        place_read_only(farm, sha256, path, insist)
