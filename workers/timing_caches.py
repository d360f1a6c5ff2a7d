"""The timing cache of one build: lent before it, given back after it, combined where somebody else was faster."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from farm.domain.errors import CorruptArtifactError, DeviceUnavailableError, FarmError, NotFoundError
from farm.domain.timing_caches import MAX_CACHE_BYTES, CacheUse, Merge, ReturnedCache, cache_key
from farm.services.timing_caches import keep_out, merge_cache
from workers.child.merge_request import MergeRequest, merge_request_as_json
from workers.child_process import ChildProcess
from workers.confinement import Limits, is_own_file, own_file
from workers.device_lock import DeviceLock
from workers.workplace import ChildFailedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from farm.domain.digests import Digest
    from farm.domain.work import Attempt, Job
    from workers.condition_watch import Throttling
    from workers.toolchains.toolchain import BuildOutput
    from workers.workplace import Workplace

_log = logging.getLogger(__name__)
#: How often a cache may be combined anew because yet another one came in between.
MERGE_ROUNDS = 10
#: How long one combination may take, in seconds: importing TensorRT takes most of it.
MERGE_DEADLINE_S = 60.0
#: How long the device may be somebody else's before the update is given up, in seconds. Long: meanwhile this
#: worker could do nothing else, since its next build waits for the same device.
_DEVICE_PATIENCE_S = 3600.0
_DEVICE_GAP_S = 0.2


class CachesRefusedError(FarmError):
    """The builder does not combine caches of these flags: TensorRT 8.6 refuses those with a part of Myelin's."""


class CacheLoan:
    """One build's loan of a timing cache.

    Nothing here fails a build: without a cache, or without its update, only time is lost.

    Args:
        place: what the worker works with.
        job: what is built.
        attempt: which try of it.
        folder: scratch folder of the attempt.
        combine: combines two caches' files into a third; by default in a child of the toolchain's interpreter.
    """

    def __init__(
        self,
        place: Workplace,
        job: Job,
        attempt: Attempt,
        folder: Path,
        *,
        combine: Callable[[Path, Path, Path], None] | None = None,
    ) -> None:
        self._place = place
        self._database = place.farm.database
        self._store = place.farm.store
        self._job = job
        self._attempt = attempt
        self._folder = folder
        self._key = cache_key(job.spec)
        self._combine = combine or self._combine_in_child
        self._expected: Digest | None = None
        self._lent: Digest | None = None
        self._returned: ReturnedCache | None = None

    @property
    def returned_path(self) -> Path:
        """Where the build writes the cache that it gives back."""
        return self._folder / "timing.out"

    @property
    def _builds_anew(self) -> bool:
        """Whether nothing is lent: with the timings of the build before, a rebuild would come to the same engine."""
        return self._job.request.is_rebuild or self._job.request.builds > 1

    def lend(self) -> Path | None:
        """Writes the filed cache to a file, if there is one that can be read.

        Raises:
            DatabaseUnavailableError: nobody can say what is filed.
            StoreUnavailableError: the store is away, so that the build would come to nothing as well.
        """
        if self._builds_anew or self._job.spec.refit_of:
            return None
        with self._database.reading() as transaction:
            self._expected = transaction.caches.find(self._key)
        if self._expected is None:
            return None
        path = self._folder / "timing.in"
        if not self._fetch(self._expected, path):
            return None
        self._lent = self._expected
        return path

    def give_back(
        self, build: BuildOutput, build_s: float | None, throttling: Throttling | None
    ) -> ReturnedCache | None:
        """Keeps in the store what the build came back with; none where there is no such thing as a cache."""
        facts = build.timing_cache
        if facts is None:
            return None
        path = self.returned_path
        written = build.timing_cache_written and is_own_file(path)
        size_bytes = path.stat().st_size if written else None
        use = CacheUse(
            flags=self._key.flags,
            lent=self._lent.sha256 if self._lent else None,
            taken=facts.get("taken") if self._lent else None,
            bytes_before=self._lent.size_bytes if self._lent else None,
            bytes_after=size_bytes,
            entries_before=facts.get("entries_before"),
            entries_after=facts.get("entries_after"),
            hits=facts.get("hits"),
            build_s=build_s,
            throttled={"samples": throttling.samples, **throttling.reasons} if throttling else None,
        )
        reason, digest = _why_not(size_bytes, throttling) or _nothing_new(use), None
        if not reason:
            try:
                digest = self._store.put_file(path)
            except (FarmError, OSError) as error:
                reason = f"it could not be stored: {error}"
        if reason:
            _log.info("the timing cache of job %s was kept out: %s", self._job.id, reason)
            use = CacheUse(**{**vars(use), "reason": reason})
        self._returned = ReturnedCache(use, self._expected, digest)
        return self._returned

    def settle(self) -> None:
        """Combines the cache with the one that came in between, if one did, once the engine is filed."""
        if self._returned is None or self._returned.digest is None:
            return
        try:
            with self._database.reading() as transaction:
                use = transaction.caches.use_of(self._attempt)
            if use is None or use.merged is not Merge.WAITING:
                return
            reason = self._merge(use, self._returned.digest)
            if reason:
                _log.warning("the timing cache of job %s was kept out: %s", self._job.id, reason)
                keep_out(self._database, self._attempt, use, reason)
        except FarmError as error:
            _log.warning("the timing cache of job %s was kept out: %s", self._job.id, error.message)

    def _merge(self, use: CacheUse, ours: Digest) -> str:
        """Compares, combines and swaps until it holds; why it did not, or an empty text."""
        for turn in range(MERGE_ROUNDS):
            with self._database.reading() as transaction:
                filed = transaction.caches.find(self._key)
            if filed is None and self._expected is not None:
                return "the cache that it was lent was disowned meanwhile"
            if self._key in self._place.uncombinable:
                return "its builder has refused to combine caches of these flags before"
            _log.info("job %s combines its timing cache with another build's", self._job.id)
            try:
                new = ours if filed in (None, ours) else self._combined(filed, ours, turn)
            except (FarmError, OSError) as error:
                if isinstance(error, CachesRefusedError):
                    # It would each time, and finding that out takes the device from builds for ten seconds.
                    self._place.uncombinable.add(self._key)
                return f"it could not be combined: {error}"
            if new.size_bytes > MAX_CACHE_BYTES:
                return _too_big(new.size_bytes)
            if merge_cache(self._database, self._key, self._attempt, use, filed, new):
                return ""
        return f"others changed the filed one {MERGE_ROUNDS} times in a row"

    def _combined(self, filed: Digest | None, ours: Digest, turn: int) -> Digest:
        assert filed is not None  # noqa: S101 - the caller has looked
        theirs, both = self._folder / f"timing.theirs{turn}", self._folder / f"timing.both{turn}"
        if not self._fetch(filed, theirs):
            # Nobody can use that one any more: ours takes its place.
            return ours
        # Of two timings of one tactic the earlier file's holds: whoever built anew was after new ones.
        earlier, later = (self.returned_path, theirs) if self._builds_anew else (theirs, self.returned_path)
        self._combine(earlier, later, both)
        return self._store.put_file(own_file(both))

    def _fetch(self, digest: Digest, path: Path) -> bool:
        try:
            self._store.fetch(digest, path)
        except (NotFoundError, CorruptArtifactError) as error:
            _log.warning("the filed timing cache can not be read, and will be replaced: %s", error.message)
            return False
        return True

    def _combine_in_child(self, earlier: Path, later: Path, both: Path) -> None:
        """In the toolchain's interpreter, on the device: TensorRT makes caches from a builder only.

        Raises:
            CachesRefusedError: the builder takes one of them only.
            ChildFailedError: the child refused, crashed or took too long.
            DeviceUnavailableError: the device was somebody else's all the time.
        """
        place, toolchain = self._place, self._job.target.toolchain
        request = MergeRequest(toolchain.name, toolchain.version, (earlier, later), both)
        lock = DeviceLock(
            place.device.uuid,
            folder=place.farm.settings.locks,
            purpose=f"engine-farm job {self._job.id}: timing caches",
        )
        self._acquire(lock)
        try:
            outcome = ChildProcess(
                place.interpreters[toolchain],
                self._folder,
                both.name,
                merge_request_as_json(request),
                code=place.code,
                environment=place.environment_for(toolchain),
                limits=Limits.of(place.farm.settings, MERGE_DEADLINE_S),
                pass_fds=(lock.fileno(),),
                # A worker that is told to stop still lets this end: it is short, and others wait for nothing.
            ).supervise(deadline_s=MERGE_DEADLINE_S, should_stop=lambda: False, on_tick=lambda _events: None)
        finally:
            lock.release()
        if failure := outcome.what_failed:
            raise ChildFailedError(failure)
        document = outcome.answer
        for refused in document["refused"]:
            _log.warning("a timing cache of %s was dropped, for the builder does not take it", refused)
        if not document["written"] or str(self.returned_path) in document["refused"]:
            raise CachesRefusedError("the builder does not take what this build came back with")

    def _acquire(self, lock: DeviceLock) -> None:
        begin = time.monotonic()
        while True:
            try:
                lock.acquire()
            except DeviceUnavailableError:
                is_leaving = self._place.stopping.is_set() or self._place.pulse.is_leaving
                if is_leaving or time.monotonic() - begin > _DEVICE_PATIENCE_S:
                    raise
            else:
                return
            time.sleep(_DEVICE_GAP_S)


def _why_not(size_bytes: int | None, throttling: Throttling | None) -> str:
    """Why a cache is not to be filed; an empty text if it is."""
    if size_bytes is None:
        return "the builder gave none back"
    if throttling is not None and throttling.reasons:
        # Its timings are of slower clocks than those that other builds are timed at.
        return f"the GPU was throttled during the build: {throttling}"
    return _too_big(size_bytes) if size_bytes > MAX_CACHE_BYTES else ""


def _nothing_new(use: CacheUse) -> str:
    """Why there is nothing to file, where the builder's log says so; an empty text if there may be."""
    # What Myelin keeps for transformers is in the file but in no count of entries: a BERT's cache grows by 3 KiB and none.
    has_grown = (use.bytes_after or 0) > (use.bytes_before or 0)
    has_all = use.taken and use.timed == 0 and not has_grown
    return "the build timed nothing that the cache it was lent does not have" if has_all else ""


def _too_big(size_bytes: int) -> str:
    return (
        f"{size_bytes >> 20} MiB are more than a timing cache may have ({MAX_CACHE_BYTES >> 20} MiB); "
        "`farm caches drop` lets it begin anew"
    )
