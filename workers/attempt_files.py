"""What a child leaves beside the engine: samples, errors, layers and their profiles, reports of Nsight Systems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.domain.work import DisturbedRun
from workers.confinement import own_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from farm.domain.digests import Digest
    from farm.services.ports import ArtifactStore
    from workers.child.requests import AttemptRequest
    from workers.remeasuring import Disturbed


@dataclass(frozen=True)
class KeptFiles:
    """The digests of what was kept; none for what is not there."""

    samples: Digest | None
    layer_information: Digest | None
    profile: Digest | None
    nsys: Digest | None
    histogram: Digest | None


def keep_files(store: ArtifactStore, request: AttemptRequest, nsys_report: Path | None) -> KeptFiles:
    """Stores what a child left.

    Args:
        store: where to.
        request: of the child.
        nsys_report: the report of Nsight Systems; none where it did not look on.

    Raises:
        BuildError: something else than a file is in the place of one.
        StoreUnavailableError: the store can not be written.
    """

    def keep(path: Path | None) -> Digest | None:
        # Links are looked at by `own_file`, which takes none.
        there = path is not None and (path.exists() or path.is_symlink())
        return store.put_file(own_file(path)) if path is not None and there else None

    return KeptFiles(
        samples=keep(request.samples_path),
        layer_information=keep(request.build.layers_path) if request.build else None,
        profile=keep(request.profile_path),
        nsys=None if nsys_report is None else store.put_file(own_file(nsys_report)),
        histogram=keep(request.histogram_path),
    )


def keep_disturbed(store: ArtifactStore, disturbed: Iterable[Disturbed]) -> tuple[DisturbedRun, ...]:
    """Stores the samples of what was measured again.

    Raises:
        BuildError: something else than a file is in the place of one.
        StoreUnavailableError: the store can not be written.
    """
    return tuple(
        DisturbedRun(
            tuple(measurement.as_json() for measurement in run.measurements),
            store.put_file(own_file(run.samples_path)) if run.samples_path else None,
        )
        for run in disturbed
    )
