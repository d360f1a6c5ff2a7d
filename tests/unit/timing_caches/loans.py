"""Builds that are lent timing caches, with toolchains whose caches are sets of lines."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from farm.domain.timing_caches import CacheKey, CacheUse, cache_key
from farm.services.attempts import finish_attempt
from tests.behaviours.given import claim, given_a_queued_job
from tests.factories import a_build_spec, a_digest, an_outcome
from tests.fakes import InMemoryArtifactStore, InMemoryDatabase
from workers.timing_caches import CacheLoan
from workers.toolchains.toolchain import BuildOutput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from farm.domain.digests import Digest
    from farm.domain.work import Attempt, Job
    from workers.condition_watch import Throttling


LOG = a_digest("log")
KEY = cache_key(a_build_spec())


def a_build(database: InMemoryDatabase, salt: str = "") -> tuple[Job, Attempt]:
    return claim(database, given_a_queued_job(database, a_build_spec(salt=salt)))


def filed(database: InMemoryDatabase) -> Digest | None:
    with database.reading() as transaction:
        return transaction.caches.find(KEY)


def use_of(database: InMemoryDatabase, attempt: Attempt) -> CacheUse:
    with database.reading() as transaction:
        found = transaction.caches.use_of(attempt)
    assert found is not None
    return found


class Farm:
    """What a loan needs of a worker: a database and a store, with toolchains whose caches are sets of lines."""

    def __init__(self, folder: Path, database: Any, store: InMemoryArtifactStore | None = None) -> None:
        self.folder = folder
        self.database = database
        self.store = store or InMemoryArtifactStore()
        self.pause: Callable[[], None] = lambda: None
        self.uncombinable: set[CacheKey] = set()

    def loan(self, job: Job, attempt: Attempt, **options: Any) -> CacheLoan:
        """A loan in a scratch folder of its own."""
        folder = self.folder / f"{job.id}.{attempt.number}"
        folder.mkdir(parents=True)
        place: Any = SimpleNamespace(
            farm=SimpleNamespace(database=self.database, store=self.store), uncombinable=self.uncombinable
        )
        return CacheLoan(place, job, attempt, folder, **{"combine": self.combine, **options})

    def combine(self, theirs: Path, ours: Path, both: Path) -> None:
        """The union of two caches."""
        self.pause()
        write(both, lines(theirs.read_bytes()) | lines(ours.read_bytes()))

    def build(
        self, loan: CacheLoan, entries: set[str], throttling: Throttling | None = None, **facts: Any
    ) -> Any:
        """Lends, builds and gives back."""
        lent = loan.lend()
        write(loan.returned_path, entries | (lines(lent.read_bytes()) if lent else set()))
        self.pause()
        return loan.give_back(a_built(**facts), 12.0, throttling)

    def entries(self, digest: Digest | None) -> set[str]:
        """Of the cache that is filed."""
        return set() if digest is None else lines(b"".join(self.store.chunks(digest)))

    def file(self, *entries: str) -> Digest:
        """Somebody else's cache, in place of whatever is filed."""
        digest = self.store.put_bytes("\n".join(entries).encode())
        with self.database.transaction() as transaction:
            assert transaction.caches.replace(KEY, transaction.caches.find(KEY), digest)
        return digest


def a_built(**facts: Any) -> BuildOutput:
    return BuildOutput(timing_cache_written=True, timing_cache={"taken": True, **facts})


def lines(data: bytes) -> set[str]:
    return set(data.decode().split("\n")) - {""}


def write(path: Path, entries: set[str]) -> None:
    path.write_text("\n".join(sorted(entries)))


def finish(farm: Farm, job: Job, attempt: Attempt, returned: Any, loan: CacheLoan) -> CacheUse:
    """Files the engine and settles the loan."""
    finish_attempt(farm.database, job, attempt, an_outcome(timing_cache=returned), LOG)
    loan.settle()
    return use_of(farm.database, attempt)
