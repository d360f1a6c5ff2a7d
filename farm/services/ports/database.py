"""Transactions, as the services need them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import datetime

    from farm.services.ports.calibration_caches import CalibrationCaches
    from farm.services.ports.canaries import Canaries
    from farm.services.ports.engine_files import EngineFiles
    from farm.services.ports.fleet_catalog import FleetCatalog
    from farm.services.ports.garbage_records import GarbageRecords
    from farm.services.ports.job_ledger import JobLedger
    from farm.services.ports.metrics import Metrics
    from farm.services.ports.model_catalog import ModelCatalog
    from farm.services.ports.signing_keys import SigningKeys
    from farm.services.ports.stored_references import StoredReferences
    from farm.services.ports.timing_caches import TimingCaches


class Transaction(Protocol):
    """One transaction: everything in it happens, or nothing."""

    @property
    def models(self) -> ModelCatalog:
        """Models and names."""

    @property
    def fleet(self) -> FleetCatalog:
        """Device types, devices, toolchains and workers."""

    @property
    def jobs(self) -> JobLedger:
        """Submissions, jobs and attempts."""

    @property
    def engines(self) -> EngineFiles:
        """Engines and runs."""

    @property
    def caches(self) -> TimingCaches:
        """Timing caches."""

    @property
    def calibration_caches(self) -> CalibrationCaches:
        """Calibration caches."""

    @property
    def references(self) -> StoredReferences:
        """References that hosts share."""

    @property
    def canaries(self) -> Canaries:
        """Canaries of devices."""

    @property
    def keys(self) -> SigningKeys:
        """Keys that sign engines."""

    @property
    def garbage(self) -> GarbageRecords:
        """What nothing refers to any more."""

    @property
    def metrics(self) -> Metrics:
        """Figures for those who watch the farm."""

    def now(self) -> datetime:
        """The database's clock, which is the only one."""


class Database(Protocol):
    """Where transactions come from."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """A transaction that writes; committed at the end of the block unless it raises."""

    def autocommit(self) -> AbstractContextManager[Transaction]:
        """As `transaction`, for statements of which each may count without the others: cheaper."""

    def reading(self) -> AbstractContextManager[Transaction]:
        """A transaction that only reads."""
