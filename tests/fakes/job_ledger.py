"""The in-memory stand-in for `JobLedger`."""

from __future__ import annotations

from tests.fakes.attempts import Attempts
from tests.fakes.job_turns import JobTurns
from tests.fakes.shared_jobs import SharedJobs
from tests.fakes.submissions import Submissions


class InMemoryJobLedger(Submissions, JobTurns, Attempts, SharedJobs):
    """Implements `JobLedger`."""
