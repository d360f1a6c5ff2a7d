"""The filed timing cache holds what every build found, in whatever order things happen."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from farm.domain.timing_caches import Merge
from tests.behaviours.given import given_a_farm
from tests.fakes import InMemoryDatabase
from tests.interleaving import interleave, point
from tests.unit.timing_caches.loans import Farm, a_build, filed, finish, use_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest


class PausingDatabase:
    """A database before each of whose transactions others may go on."""

    def __init__(self, database: InMemoryDatabase) -> None:
        self._database = database

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        point()
        with self._database.transaction() as transaction:
            yield transaction

    @contextmanager
    def reading(self) -> Iterator[Any]:
        point()
        with self._database.reading() as transaction:
            yield transaction


@settings(max_examples=60, deadline=None)
@given(data=st.data(), workers=st.integers(2, 4), filed_before=st.booleans())
def test_whatever_the_order_the_filed_cache_holds_everybodys_entries(
    data: st.DataObject, workers: int, filed_before: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    database = InMemoryDatabase()
    given_a_farm(database)
    farm = Farm(tmp_path_factory.mktemp("farm"), PausingDatabase(database))
    farm.pause = point
    if filed_before:
        farm.file("before")
    jobs = [a_build(database, salt=str(number)) for number in range(workers)]

    def work(number: int) -> None:
        job, attempt = jobs[number]
        loan = farm.loan(job, attempt)
        returned = farm.build(loan, {f"of {number}", "of all"})
        finish(farm, job, attempt, returned, loan)

    order = (data.draw(st.integers(0, workers - 1)) for _ in count())
    interleave([partial(work, number) for number in range(workers)], order)
    wanted = {"of all", *(f"of {number}" for number in range(workers))} | (
        {"before"} if filed_before else set()
    )
    assert farm.entries(filed(database)) == wanted
    assert {use_of(database, attempt).merged for _, attempt in jobs} <= {Merge.SWAPPED, Merge.COMBINED}
    with database.reading() as transaction:
        (cache,) = transaction.caches.all()
    assert cache.merged == workers
