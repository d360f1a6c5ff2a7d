"""Engines and their runs, as the services need them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from farm.domain.digests import Digest
    from farm.domain.filing import Engine, HistoryEntry
    from farm.domain.specs import BuildSpec
    from farm.domain.work import Attempt, AttemptOutcome, Finished, Job


class EngineFiles(Protocol):
    """Engines and their runs; what an artifact is."""

    def find(self, spec: BuildSpec) -> Engine | None:
        """The engine under a key."""

    def find_all(self, specs: Sequence[BuildSpec]) -> dict[str, Engine]:
        """The engines under some keys, by the digest of the spec."""

    def get(self, engine_id: int) -> Engine:
        """An engine by its number. Raises NotFoundError."""

    def engines(self, *, model_sha256: str | None = None, with_retired: bool = False) -> list[Engine]:
        """Engines with their runs, oldest first; retired ones on request."""

    def finish(self, job: Job, attempt: Attempt, outcome: AttemptOutcome, log: Digest) -> Finished:
        """Ends an attempt that succeeded and files what it made; as `file`. Raises AttemptSupersededError."""

    def file(self, job: Job, attempt: Attempt, outcome: AttemptOutcome) -> int:
        """Files what an attempt made; the engine's number."""

    def history(self, *, name: str, since: datetime | None, include_tainted: bool) -> list[HistoryEntry]:
        """Measurements of every version of a name, newest last."""

    def artifact(self, sha256: str) -> Digest:
        """The whole digest of an artifact that was noted. Raises NotFoundError."""

    def add_artifact(self, digest: Digest, kind: str) -> None:
        """Notes what an artifact of the store is."""
