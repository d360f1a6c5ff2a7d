"""What one build calibrates with: its samples, and the ranges that an earlier build measured with the same."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from farm.domain.calibration import algorithm_of
from farm.domain.calibration_caches import (
    MAX_CALIBRATION_CACHE_BYTES,
    ReturnedCalibrationCache,
    calibration_cache_key,
)
from farm.domain.errors import CorruptArtifactError, FarmError, NotFoundError
from workers.confinement import is_own_file
from workers.materials import place_inputs
from workers.toolchains.toolchain import CALIBRATION_CACHE, CalibrationInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from farm.domain.digests import Digest
    from farm.domain.specs import BuildSpec
    from farm.domain.work import Job
    from workers.child.requests import AttemptRequest
    from workers.journal import Journal
    from workers.toolchains.toolchain import BuildOutput
    from workers.workplace import Workplace

_log = logging.getLogger(__name__)


def calibration_input(spec: BuildSpec, data_path: Path | None) -> CalibrationInput | None:
    """What a cell is calibrated with; none where nothing is.

    Args:
        spec: of the cell.
        data_path: the file of its samples; none for random ones.
    """
    wanted = spec.calibration
    if wanted is None:
        return None
    return CalibrationInput(
        algorithm=algorithm_of(spec.builder_config),
        data_path=data_path,
        batch=wanted.batch,
        samples=wanted.samples,
        seed=wanted.seed,
    )


class CalibrationStep:
    """The calibration of one build: samples fetched, a cache lent and given back.

    Nothing about the cache fails a build: without one only time is lost.

    Args:
        place: what the worker works with.
        job: what is built.
        folder: scratch folder of the attempt.
        journal: through which the database is asked.
    """

    def __init__(self, place: Workplace, job: Job, folder: Path, journal: Journal) -> None:
        self._database = place.farm.database
        self._store = place.farm.store
        self._job = job
        self._journal = journal
        self._samples_path = folder / "calibration.npz"
        self._cache_in = folder / "calibration.in"
        self._cache_out = folder / "calibration.out"
        self._key = calibration_cache_key(job.spec)
        self._filed: Digest | None = None

    def place_samples(self, progress: Callable[[str], None]) -> Path | None:
        """The file of samples that a build calibrates with, fetched; none if there is no such file.

        Raises:
            NotFoundError: the store has lost it.
            CorruptArtifactError: it was altered.
        """
        calibration = self._job.spec.calibration
        if calibration is None or calibration.is_random:
            return None
        progress("fetching the calibration data")
        path, sha256 = self._samples_path, calibration.data_sha256
        self._journal.insist(lambda: place_inputs(self._database, self._store, sha256, path))
        return path

    def with_cache(self, request: AttemptRequest) -> AttemptRequest:
        """The request with the cache that is filed at this moment, and where to write one."""
        build = request.build
        if build is None or build.calibration is None or self._key is None:
            return request
        lent = self._journal.insist(self._lend)
        wanted = replace(build.calibration, cache_in=lent, cache_out=self._cache_out)
        return replace(request, build=replace(build, calibration=wanted))

    def give_back(self, build: BuildOutput) -> ReturnedCalibrationCache | None:
        """Keeps in the store what the build came back with; none where nothing is to be noted."""
        facts: Mapping[str, object] | None = build.details.get(CALIBRATION_CACHE)
        if facts is None or self._key is None:
            return None
        if facts.get("taken"):
            return ReturnedCalibrationCache(self._key, lent=True)
        if not is_own_file(self._cache_out) or not self._cache_out.stat().st_size:
            return None
        try:
            if self._cache_out.stat().st_size > MAX_CALIBRATION_CACHE_BYTES:
                _log.warning("the calibration cache of job %s was kept out: it is too big", self._job.id)
                return None
            digest = self._store.put_file(self._cache_out)
        except (FarmError, OSError) as error:
            _log.warning("the calibration cache of job %s was kept out: %s", self._job.id, error)
            return None
        return ReturnedCalibrationCache(self._key, expected=self._filed, digest=digest)

    def _lend(self) -> Path | None:
        assert self._key is not None  # noqa: S101 - the caller has looked
        with self._database.reading() as transaction:
            self._filed = transaction.calibration_caches.find(self._key)
        if self._filed is None:
            return None
        try:
            self._store.fetch(self._filed, self._cache_in)
        except (NotFoundError, CorruptArtifactError) as error:
            _log.warning(
                "the filed calibration cache can not be read, and will be replaced: %s", error.message
            )
            return None
        return self._cache_in
