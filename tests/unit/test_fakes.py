"""The fakes keep the promises of the ports that they stand for."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.behaviours.artifact_store import ArtifactStoreBehaviour
from tests.behaviours.attempts import AttemptsBehaviour
from tests.behaviours.calibration_caches import CalibrationCachesBehaviour
from tests.behaviours.canaries import CanariesBehaviour
from tests.behaviours.engine_files import EngineFilesBehaviour
from tests.behaviours.job_ledger import JobLedgerBehaviour
from tests.behaviours.job_turns import JobTurnsBehaviour
from tests.behaviours.jobs_for_one_device import JobsForOneDeviceBehaviour
from tests.behaviours.layers_and_profiles import LayersAndProfilesBehaviour
from tests.behaviours.model_catalog import ModelCatalogBehaviour
from tests.behaviours.rebuilt_engines import RebuiltEnginesBehaviour
from tests.behaviours.shared_jobs import SharedJobsBehaviour
from tests.behaviours.signing_keys import SigningKeysBehaviour
from tests.behaviours.stored_references import StoredReferencesBehaviour
from tests.behaviours.submissions import SubmissionsBehaviour
from tests.behaviours.timing_caches import TimingCachesBehaviour
from tests.behaviours.worker_states import WorkerStatesBehaviour
from tests.fakes import InMemoryArtifactStore, InMemoryDatabase

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from farm.domain.digests import Digest


@pytest.fixture
def database() -> InMemoryDatabase:
    return InMemoryDatabase()


@pytest.fixture
def store() -> InMemoryArtifactStore:
    return InMemoryArtifactStore()


@pytest.fixture
def spoil(store: InMemoryArtifactStore) -> Callable[[Digest, bytes], None]:
    return store.spoil


@pytest.fixture
def later(store: InMemoryArtifactStore) -> Callable[[], datetime]:
    def later() -> datetime:
        store.moment += timedelta(seconds=1)
        return store.moment

    return later


class TestInMemoryModelCatalog(ModelCatalogBehaviour):
    """Models and names."""


class TestInMemorySubmissions(SubmissionsBehaviour):
    """Submissions and their cells."""


class TestInMemoryJobLedger(JobLedgerBehaviour):
    """Jobs."""


class TestInMemoryAttempts(AttemptsBehaviour):
    """Attempts, and whose they are."""


class TestInMemorySigningKeys(SigningKeysBehaviour):
    """Keys, and the engines that they signed."""


class TestInMemorySharedJobs(SharedJobsBehaviour):
    """Many jobs at once, and those that several people want."""


class TestInMemoryJobTurns(JobTurnsBehaviour):
    """Submissions, jobs and attempts."""


class TestInMemoryEngineFiles(EngineFilesBehaviour):
    """Engines and runs."""


class TestInMemoryRebuiltEngines(RebuiltEnginesBehaviour):
    """Engines that were built anew."""


class TestInMemoryLayersAndProfiles(LayersAndProfilesBehaviour):
    """Layers of engines, and jobs that profile."""


class TestInMemoryTimingCaches(TimingCachesBehaviour):
    """Timing caches."""


class TestInMemoryJobsForOneDevice(JobsForOneDeviceBehaviour):
    """`InMemoryJobLedger`."""


class TestInMemoryCanaries(CanariesBehaviour):
    """`InMemoryCanaries`."""


class TestInMemoryCalibrationCaches(CalibrationCachesBehaviour):
    """`InMemoryCalibrationCaches`."""


class TestInMemoryStoredReferences(StoredReferencesBehaviour):
    """`InMemoryStoredReferences`."""


class TestInMemoryWorkerStates(WorkerStatesBehaviour):
    """Workers that leave, died, or are away."""


class TestInMemoryArtifactStore(ArtifactStoreBehaviour):
    """Artifacts."""
