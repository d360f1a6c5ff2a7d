"""In-memory stand-ins behind the ports of `farm/services/ports/`.

They keep the promises of the real ones, which `tests/unit/test_fakes.py` proves with the suites in
`tests/behaviours/`: transactions roll back, the fence holds, and what a foreign key would refuse raises.
"""

from __future__ import annotations

from tests.fakes.artifact_store import InMemoryArtifactStore
from tests.fakes.database import InMemoryDatabase
from tests.fakes.job_queue import RecordingQueue

__all__ = ["InMemoryArtifactStore", "InMemoryDatabase", "RecordingQueue"]
