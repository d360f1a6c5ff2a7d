"""The in-memory stand-ins for `Database` and `Transaction`."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.fakes.calibration_caches import InMemoryCalibrationCaches
from tests.fakes.canaries import InMemoryCanaries
from tests.fakes.engine_files import InMemoryEngineFiles
from tests.fakes.fleet_catalog import InMemoryFleetCatalog
from tests.fakes.job_ledger import InMemoryJobLedger
from tests.fakes.model_catalog import InMemoryModelCatalog
from tests.fakes.signing_keys import InMemorySigningKeys
from tests.fakes.stored_references import InMemoryStoredReferences
from tests.fakes.tables import Tables
from tests.fakes.timing_caches import InMemoryTimingCaches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


class InMemoryDatabase:
    """Implements `Database`.

    Attributes:
        clock: what `now()` says. It goes on by a millisecond with every transaction that writes, so
            that nothing happens at the same time; a test sets it, or lets time go by with `advance`.
        before_writing: called before every transaction that writes, such as to let somebody else go first.
    """

    def __init__(self) -> None:
        self.clock = datetime(2026, 1, 1, tzinfo=UTC)
        self.before_writing: Callable[[], None] | None = None
        self._tables = Tables()

    def advance(self, seconds: float) -> None:
        """Lets time go by."""
        self.clock += timedelta(seconds=seconds)

    @contextmanager
    def transaction(self) -> Iterator[InMemoryTransaction]:
        """A transaction that writes; all is as before if the block raises."""
        self._let_others_go_first()
        self.advance(0.001)
        before = copy.deepcopy(self._tables)
        try:
            yield InMemoryTransaction(self, self._tables)
        except BaseException:
            self._tables = before
            raise

    def autocommit(self) -> AbstractContextManager[InMemoryTransaction]:
        """As `transaction`."""
        return self.transaction()

    @contextmanager
    def reading(self) -> Iterator[InMemoryTransaction]:
        """A transaction that only reads: what it writes is lost."""
        yield InMemoryTransaction(self, copy.deepcopy(self._tables))

    def _let_others_go_first(self) -> None:
        others, self.before_writing = self.before_writing, None
        if others is not None:
            others()


class InMemoryTransaction:
    """Implements `Transaction`."""

    def __init__(self, database: InMemoryDatabase, tables: Tables) -> None:
        self._database = database
        self.models = InMemoryModelCatalog(tables, self.now)
        self.fleet = InMemoryFleetCatalog(tables, self.now)
        self.jobs = InMemoryJobLedger(tables, self.now)
        self.engines = InMemoryEngineFiles(tables, self.now)
        self.caches = InMemoryTimingCaches(tables, self.now)
        self.calibration_caches = InMemoryCalibrationCaches(tables, self.now)
        self.references = InMemoryStoredReferences(tables)
        self.canaries = InMemoryCanaries(tables, self.now)
        self.keys = InMemorySigningKeys(tables, self.now)

    def now(self) -> datetime:
        """The only clock."""
        return self._database.clock
