"""The ports: what the services need of a database, a store and a queue, as Protocols."""

from __future__ import annotations

from farm.services.ports.artifact_store import ArtifactStore
from farm.services.ports.calibration_caches import CalibrationCaches
from farm.services.ports.canaries import Canaries
from farm.services.ports.database import Database, Transaction
from farm.services.ports.engine_files import EngineFiles
from farm.services.ports.fleet_catalog import FleetCatalog
from farm.services.ports.garbage_records import GarbageRecords
from farm.services.ports.job_ledger import JobLedger
from farm.services.ports.job_queue import JobQueue
from farm.services.ports.metrics import Metrics
from farm.services.ports.model_catalog import ModelCatalog
from farm.services.ports.signing_keys import SignatureChecker, SigningKeys
from farm.services.ports.stored_references import StoredReferences
from farm.services.ports.timing_caches import TimingCaches

__all__ = [
    "ArtifactStore",
    "CalibrationCaches",
    "Canaries",
    "Database",
    "EngineFiles",
    "FleetCatalog",
    "GarbageRecords",
    "JobLedger",
    "JobQueue",
    "Metrics",
    "ModelCatalog",
    "SignatureChecker",
    "SigningKeys",
    "StoredReferences",
    "TimingCaches",
    "Transaction",
]
