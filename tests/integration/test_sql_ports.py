"""SQLite and PostgreSQL keep the promises of the ports."""

from __future__ import annotations

from tests.behaviours.attempts import AttemptsBehaviour
from tests.behaviours.attempts_given_back import AttemptsGivenBackBehaviour
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


class TestModelCatalog(ModelCatalogBehaviour):
    """`SqlModelCatalog`."""


class TestSubmissions(SubmissionsBehaviour):
    """`SqlSubmissions`."""


class TestJobLedger(JobLedgerBehaviour):
    """`SqlJobLedger`."""


class TestAttempts(AttemptsBehaviour):
    """`SqlClaims` and `SqlAttempts`."""


class TestSharedJobs(SharedJobsBehaviour):
    """`SqlManyJobs` and `SqlFollowUps`."""


class TestJobTurns(JobTurnsBehaviour):
    """`SqlJobLedger`."""


class TestEngineFiles(EngineFilesBehaviour):
    """`SqlEngineFiles`."""


class TestRebuiltEngines(RebuiltEnginesBehaviour):
    """`SqlEngineFiles`."""


class TestLayersAndProfiles(LayersAndProfilesBehaviour):
    """`SqlEngineFiles` and `SqlJobLedger`."""


class TestSigningKeys(SigningKeysBehaviour):
    """`SqlSigningKeys`, and the engines that they signed."""


class TestWorkerStates(WorkerStatesBehaviour):
    """Workers that leave, died, or are away."""


class TestTimingCaches(TimingCachesBehaviour):
    """`SqlTimingCaches`."""


class TestJobsForOneDevice(JobsForOneDeviceBehaviour):
    """`SqlClaims` and `SqlSweeping`."""


class TestCanaries(CanariesBehaviour):
    """`SqlCanaries`."""


class TestCalibrationCaches(CalibrationCachesBehaviour):
    """`SqlCalibrationCaches`."""


class TestStoredReferences(StoredReferencesBehaviour):
    """`SqlStoredReferences`."""


class TestAttemptsGivenBack(AttemptsGivenBackBehaviour):
    """`SqlFailures` and `SqlMetrics`."""
