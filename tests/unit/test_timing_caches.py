"""Timing caches: what they are specific to, how they are swapped and combined, and that no update is lost."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.domain.errors import BuildError, StoreUnavailableError
from farm.domain.timing_caches import MAX_CACHE_BYTES, CacheKey, CacheUse, Merge, cache_flags, cache_key
from farm.services.attempts import finish_attempt
from farm.services.timing_caches import drop_caches, report_caches
from tests.behaviours.given import claim, given_a_farm, given_a_queued_job
from tests.factories import a_build_spec, a_cache_use, a_digest, a_returned_cache, an_outcome
from tests.fakes import InMemoryArtifactStore, InMemoryDatabase
from workers.throttle_watch import Throttling
from workers.timing_caches import MERGE_ROUNDS, CacheLoan, CachesRefusedError
from workers.toolchains.toolchain import BuildOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from farm.domain.digests import Digest
    from farm.domain.work import Attempt, Job

LOG = a_digest("log")
KEY = cache_key(a_build_spec())


# What a cache is specific to.


def flags_with(**options: Any) -> str:
    return cache_flags(a_build_spec(precision="fp16", builder_config=options))


def test_flags_are_readable() -> None:
    assert flags_with() == "fp16"
    assert (
        flags_with(tactic_sources=["+CUDNN", "-CUBLAS"], builder_optimization_level=4)
        == "fp16 builder_optimization_level=4 tactic_sources=+CUDNN,-CUBLAS"
    )


@pytest.mark.parametrize(
    "option",
    [
        {"tactic_sources": ["-CUBLAS"]},
        {"builder_optimization_level": 5},
        {"avg_timing_iterations": 8},
        {"memory_pool_limits.WORKSPACE": 1 << 30},
        {"hardware_compatibility_level": "AMPERE_PLUS"},
        {"an_option_of_tomorrow": True},
    ],
)
def test_what_may_change_a_tactic_has_a_cache_of_its_own(option: dict[str, Any]) -> None:
    assert flags_with(**option) != flags_with()


def test_precisions_have_caches_of_their_own() -> None:
    specs = [a_build_spec(precision=word, builder_config={}) for word in ("fp32", "tf32", "fp16", "int8")]
    assert len({cache_flags(spec) for spec in specs}) == len(specs)


@pytest.mark.parametrize(
    "option", [{"max_aux_streams": 0}, {"profiling_verbosity": "DETAILED"}, {"timing_cache": False}]
)
def test_what_changes_no_tactic_shares_the_cache(option: dict[str, Any]) -> None:
    assert flags_with(**option) == flags_with()


def test_every_model_and_every_profile_shares_the_cache() -> None:
    other = a_build_spec(model_sha256=a_digest("unet").sha256, profiles=(), salt="again")
    assert cache_key(other) == cache_key(a_build_spec())


def test_flags_of_any_length_fit_a_database_key_and_stay_apart() -> None:
    one, two = flags_with(a=["x"] * 5000), flags_with(a=["x"] * 5001)
    assert one != two
    assert max(len(one.encode()), len(two.encode())) < 700


# What it did for a build.


def test_hits_and_savings_are_told() -> None:
    use = a_cache_use(lent="ab", entries_before=30, entries_after=40, hits=90, cold_build_s=100.0)
    assert (use.timed, use.hit_ratio, use.saved_s) == (10, 0.9, 40.0)
    assert CacheUse.from_json(use.as_json()) == use


@pytest.mark.parametrize(
    ("unknown", "derived"),
    [
        ("entries_before", "timed"),
        ("entries_after", "hit_ratio"),
        ("hits", "hit_ratio"),
        ("lent", "saved_s"),
        ("cold_build_s", "saved_s"),
        ("build_s", "saved_s"),
    ],
)
def test_what_is_not_known_is_not_made_up(unknown: str, derived: str) -> None:
    use = a_cache_use(lent="ab", entries_before=30, entries_after=40, hits=90, cold_build_s=100.0)
    assert getattr(use, derived) is not None
    assert getattr(replace(use, **{unknown: None}), derived) is None


def test_a_build_that_looked_nothing_up_has_no_ratio() -> None:
    assert a_cache_use(entries_before=0, entries_after=0, hits=0).hit_ratio is None


def test_a_note_of_a_later_release_is_read() -> None:
    assert CacheUse.from_json({**a_cache_use().as_json(), "invented": 1}) == a_cache_use()


# Filing.


@pytest.fixture
def database() -> InMemoryDatabase:
    database = InMemoryDatabase()
    given_a_farm(database)
    return database


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


def test_a_cache_that_nobody_changed_meanwhile_is_swapped_with_the_engine(database: InMemoryDatabase) -> None:
    job, attempt = a_build(database)
    finish_attempt(database, job, attempt, an_outcome(timing_cache=a_returned_cache("mine")), LOG)
    assert filed(database) == a_digest("mine")
    assert use_of(database, attempt).merged is Merge.SWAPPED


def test_a_cache_that_somebody_changed_meanwhile_waits_and_the_engine_does_not(
    database: InMemoryDatabase,
) -> None:
    job, attempt = a_build(database)
    with database.transaction() as transaction:
        transaction.caches.replace(KEY, None, a_digest("theirs"))
    number = finish_attempt(database, job, attempt, an_outcome(timing_cache=a_returned_cache("mine")), LOG)
    with database.reading() as transaction:
        assert transaction.engines.get(number).digest == a_digest("plan")
    assert filed(database) == a_digest("theirs")
    assert use_of(database, attempt).merged is Merge.WAITING


def test_a_cache_that_is_kept_out_leaves_the_filed_one_and_its_reason(database: InMemoryDatabase) -> None:
    job, attempt = a_build(database)
    returned = a_returned_cache(None, reason="the GPU was throttled")
    finish_attempt(database, job, attempt, an_outcome(timing_cache=returned), LOG)
    assert filed(database) is None
    use = use_of(database, attempt)
    assert (use.merged, use.reason) == (Merge.KEPT_OUT, "the GPU was throttled")


def test_loans_merges_and_savings_are_summed(database: InMemoryDatabase) -> None:
    job, attempt = a_build(database)
    finish_attempt(database, job, attempt, an_outcome(timing_cache=a_returned_cache("first")), LOG)
    for salt, build_s in (("a", 20.0), ("b", 25.0)):
        job, attempt = a_build(database, salt)
        returned = a_returned_cache(salt, filed(database), entries_before=40, hits=50, build_s=build_s)
        finish_attempt(database, job, attempt, an_outcome(timing_cache=returned), LOG)
    with database.reading() as transaction:
        (report,) = report_caches(transaction)
    assert (report.cache.lent, report.cache.merged, report.cache.saved_s) == (2, 3, 40.0 + 35.0)
    # The cold build before was lent nothing, so it says nothing of the cache.
    assert report.hit_ratio == 1.0


def test_a_disowned_cache_is_lent_to_nobody(database: InMemoryDatabase) -> None:
    with database.transaction() as transaction:
        transaction.caches.replace(KEY, None, a_digest("bad"))
    assert drop_caches(database, [KEY, replace(KEY, flags="fp32")]) == 1
    assert filed(database) is None


# A build's loan.


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


@pytest.fixture
def farm(tmp_path: Path, database: InMemoryDatabase) -> Farm:
    return Farm(tmp_path, database)


def finish(farm: Farm, job: Job, attempt: Attempt, returned: Any, loan: CacheLoan) -> CacheUse:
    """Files the engine and settles the loan."""
    finish_attempt(farm.database, job, attempt, an_outcome(timing_cache=returned), LOG)
    loan.settle()
    return use_of(farm.database, attempt)


def test_a_cache_that_came_in_between_is_combined_with(farm: Farm, database: InMemoryDatabase) -> None:
    job, attempt = a_build(database)
    loan = farm.loan(job, attempt)
    returned = farm.build(loan, {"mine"})
    farm.file("theirs")
    assert finish(farm, job, attempt, returned, loan).merged is Merge.COMBINED
    assert farm.entries(filed(database)) == {"mine", "theirs"}


def test_a_toolchain_without_timing_caches_leaves_no_note(farm: Farm, database: InMemoryDatabase) -> None:
    job, attempt = a_build(database)
    assert farm.loan(job, attempt).give_back(BuildOutput(), 1.0, None) is None


@pytest.mark.parametrize(
    ("throttling", "merged"),
    [
        (None, Merge.SWAPPED),
        (Throttling(40, {}), Merge.SWAPPED),
        (Throttling(40, {"SwPowerCap": 1}), Merge.KEPT_OUT),
    ],
)
def test_a_cache_recorded_under_throttling_is_not_merged(
    farm: Farm, database: InMemoryDatabase, throttling: Throttling | None, merged: Merge
) -> None:
    job, attempt = a_build(database)
    loan = farm.loan(job, attempt)
    returned = farm.build(loan, {"mine"}, throttling)
    use = finish(farm, job, attempt, returned, loan)
    assert use.merged is merged
    assert farm.entries(filed(database)) == ({"mine"} if merged is Merge.SWAPPED else set())
    assert ("throttled during the build: SwPowerCap in 1 of 40" in use.reason) == (merged is Merge.KEPT_OUT)
    assert use.throttled == (throttling and {"samples": 40, **throttling.reasons})


def test_a_cache_that_grew_beyond_the_limit_is_not_filed(farm: Farm, database: InMemoryDatabase) -> None:
    job, attempt = a_build(database)
    loan = farm.loan(job, attempt)
    with loan.returned_path.open("wb") as file:
        file.truncate(MAX_CACHE_BYTES + 1)
    returned = loan.give_back(a_built(), 1.0, None)
    use = finish(farm, job, attempt, returned, loan)
    assert (use.merged, use.bytes_after) == (Merge.KEPT_OUT, MAX_CACHE_BYTES + 1)
    assert "farm caches drop" in use.reason
    assert filed(database) is None


def test_a_build_that_left_a_link_for_a_cache_files_nothing(farm: Farm, database: InMemoryDatabase) -> None:
    job, attempt = a_build(database)
    loan = farm.loan(job, attempt)
    secret = farm.folder / "secret"
    secret.write_text("secret")
    loan.returned_path.symlink_to(secret)
    returned = loan.give_back(a_built(), 1.0, None)
    assert returned is not None
    assert returned.digest is None


@pytest.mark.parametrize("harm", ["gone", "altered"])
def test_a_filed_cache_that_can_not_be_read_is_not_lent_and_is_replaced(
    tmp_path: Path, database: InMemoryDatabase, harm: str
) -> None:
    store = InMemoryArtifactStore()
    farm = Farm(tmp_path, database, store)
    digest = farm.file("old") if harm == "altered" else a_digest("never stored")
    if harm == "altered":
        store.spoil(digest, b"others")
    else:
        with database.transaction() as transaction:
            transaction.caches.replace(KEY, None, digest)
    job, attempt = a_build(database)
    loan = farm.loan(job, attempt)
    assert loan.lend() is None
    returned = farm.build(loan, {"mine"})
    use = finish(farm, job, attempt, returned, loan)
    assert (use.merged, use.lent, use.taken) == (Merge.SWAPPED, None, None)
    assert farm.entries(filed(database)) == {"mine"}


def test_a_cache_that_came_in_between_and_can_not_be_read_gives_way(
    farm: Farm, database: InMemoryDatabase
) -> None:
    job, attempt = a_build(database)
    loan = farm.loan(job, attempt)
    returned = farm.build(loan, {"mine"})
    farm.store.spoil(farm.file("theirs"), b"others")
    assert finish(farm, job, attempt, returned, loan).merged is Merge.COMBINED
    assert farm.entries(filed(database)) == {"mine"}


@pytest.mark.parametrize(
    "error", [BuildError("not on a Sunday"), StoreUnavailableError("away"), OSError("full")]
)
def test_caches_that_can_not_be_combined_cost_only_the_update(
    farm: Farm, database: InMemoryDatabase, error: Exception
) -> None:
    def refuse(*_paths: Path) -> None:
        raise error

    job, attempt = a_build(database)
    loan = farm.loan(job, attempt, combine=refuse)
    returned = farm.build(loan, {"mine"})
    farm.file("theirs")
    use = finish(farm, job, attempt, returned, loan)
    assert (use.merged, str(error) in use.reason) == (Merge.KEPT_OUT, True)
    assert farm.entries(filed(database)) == {"theirs"}


def test_a_builder_that_refuses_to_combine_is_not_asked_again(farm: Farm, database: InMemoryDatabase) -> None:
    asked: list[Path] = []

    def refuse(theirs: Path, *_paths: Path) -> None:
        asked.append(theirs)
        raise CachesRefusedError("there is a part of Myelin's in it")

    for salt in ("one", "two"):
        job, attempt = a_build(database, salt)
        loan = farm.loan(job, attempt, combine=refuse)
        returned = farm.build(loan, {f"mine {salt}"})
        farm.file(f"theirs {salt}")
        use = finish(farm, job, attempt, returned, loan)
        assert (use.merged, "refused" in use.reason or "Myelin" in use.reason) == (Merge.KEPT_OUT, True)
    assert len(asked) == 1


def test_a_build_that_timed_nothing_new_leaves_the_filed_cache_alone(
    farm: Farm, database: InMemoryDatabase
) -> None:
    before = farm.file("all that it needs")
    job, attempt = a_build(database)
    loan = farm.loan(job, attempt)
    returned = farm.build(loan, set(), entries_before=7, entries_after=7, hits=30)
    newer = farm.file("all that it needs", "theirs")
    use = finish(farm, job, attempt, returned, loan)
    assert (use.merged, "timed nothing" in use.reason, use.lent) == (Merge.KEPT_OUT, True, before.sha256)
    assert filed(database) == newer


def test_a_cache_that_was_disowned_during_the_build_does_not_come_back(
    farm: Farm, database: InMemoryDatabase
) -> None:
    farm.file("bad")
    job, attempt = a_build(database)
    loan = farm.loan(job, attempt)
    returned = farm.build(loan, {"mine"})
    drop_caches(database, [KEY])
    use = finish(farm, job, attempt, returned, loan)
    assert (use.merged, "disowned" in use.reason) == (Merge.KEPT_OUT, True)
    assert filed(database) is None


def test_combining_ends_where_others_are_always_faster(farm: Farm, database: InMemoryDatabase) -> None:
    turns: list[int] = []

    def others_go_first(theirs: Path, ours: Path, both: Path) -> None:
        farm.combine(theirs, ours, both)
        turns.append(len(turns))
        farm.file(f"theirs {len(turns)}")

    job, attempt = a_build(database)
    loan = farm.loan(job, attempt, combine=others_go_first)
    returned = farm.build(loan, {"mine"})
    farm.file("theirs")
    use = finish(farm, job, attempt, returned, loan)
    assert (use.merged, len(turns)) == (Merge.KEPT_OUT, MERGE_ROUNDS)


# Nobody's update is lost, in whatever order things happen.


class Interleaving:
    """Runs tasks in threads, one at a time: at every pause somebody is drawn who goes on."""

    def __init__(self, draw: Callable[[int], int]) -> None:
        self._draw = draw
        self._turns: dict[int, threading.Semaphore] = {}
        self._paused = threading.Semaphore(0)
        self._errors: list[BaseException] = []

    def pause(self) -> None:
        """Lets somebody else go on, or nobody."""
        turn = self._turns.get(threading.get_ident())
        if turn is not None:
            self._paused.release()
            turn.acquire()

    def run(self, tasks: list[Callable[[], None]]) -> None:
        """Until all have ended."""
        alive: list[tuple[threading.Thread, threading.Semaphore]] = []
        for task in tasks:
            turn = threading.Semaphore(0)
            thread = threading.Thread(target=self._task, args=(task, turn), daemon=True)
            thread.start()
            self._paused.acquire()
            alive.append((thread, turn))
        while alive:
            thread, turn = alive[self._draw(len(alive))]
            turn.release()
            self._paused.acquire()
            alive = [(t, s) for t, s in alive if t.ident in self._turns]
        for error in self._errors:
            raise error

    def _task(self, task: Callable[[], None], turn: threading.Semaphore) -> None:
        self._turns[threading.get_ident()] = turn
        try:
            self.pause()
            task()
        except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
            self._errors.append(error)
        finally:
            del self._turns[threading.get_ident()]
            self._paused.release()


class PausingDatabase:
    """A database before each of whose transactions others may go on."""

    def __init__(self, database: InMemoryDatabase, pause: Callable[[], None]) -> None:
        self._database = database
        self._pause = pause

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        self._pause()
        with self._database.transaction() as transaction:
            yield transaction

    @contextmanager
    def reading(self) -> Iterator[Any]:
        self._pause()
        with self._database.reading() as transaction:
            yield transaction


@settings(max_examples=60, deadline=None)
@given(data=st.data(), workers=st.integers(2, 4), filed_before=st.booleans())
def test_whatever_the_order_the_filed_cache_holds_everybodys_entries(
    data: st.DataObject, workers: int, filed_before: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    database = InMemoryDatabase()
    given_a_farm(database)
    order = Interleaving(lambda count: data.draw(st.integers(0, count - 1)))
    farm = Farm(tmp_path_factory.mktemp("farm"), PausingDatabase(database, order.pause))
    farm.pause = order.pause
    if filed_before:
        farm.file("before")
    jobs = [a_build(database, salt=str(number)) for number in range(workers)]

    def work(number: int) -> None:
        job, attempt = jobs[number]
        loan = farm.loan(job, attempt)
        returned = farm.build(loan, {f"of {number}", "of all"})
        finish(farm, job, attempt, returned, loan)

    order.run([lambda number=number: work(number) for number in range(workers)])  # type: ignore[misc]
    wanted = {"of all", *(f"of {number}" for number in range(workers))} | (
        {"before"} if filed_before else set()
    )
    assert farm.entries(filed(database)) == wanted
    assert {use_of(database, attempt).merged for _, attempt in jobs} <= {Merge.SWAPPED, Merge.COMBINED}
    with database.reading() as transaction:
        (cache,) = transaction.caches.all()
    assert cache.merged == workers
