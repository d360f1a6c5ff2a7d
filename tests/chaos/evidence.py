"""What a fleet left behind, read past the product's own code: rows of SQL, files of the store, notes, processes."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

#: In the environment of every child of the farm; begins with the scratch folder.
MARK = "ENGINE_FARM_CHILD"
_TEMPORARY = "incoming"


@dataclass(frozen=True)
class Acknowledged:
    """A submission that a client was told is safe."""

    submission: str
    jobs: tuple[str, ...]


@dataclass(frozen=True)
class JobRow:
    """A job as SQL has it."""

    id: str
    kind: str
    key: str
    state: str
    max_attempts: int
    failure: str = ""


@dataclass(frozen=True)
class AttemptRow:
    """An attempt as SQL has it; `released` if its worker gave it back."""

    job: str
    number: int
    state: str
    claimed_at: datetime
    finished_at: datetime | None
    released: bool = False


@dataclass
class Evidence:
    """Everything that the checker looks at.

    Attributes:
        acknowledged: by the clients' own notes.
        submissions: id to the ids of the jobs of its cells.
        jobs: all of SQL.
        attempts: all of SQL.
        engines: keys of the engines that are filed, once per row.
        artifacts: sha256 to size, of every artifact that SQL says is there.
        stored: sha256 in the name to (sha256 of the bytes, size), of every file that the store shows.
        children: process ids of children and what descends from them.
        leftovers: names of scratch folders of attempts.
        complaints: unexpected ends and traces in the logs of the fleet's processes.
    """

    acknowledged: list[Acknowledged] = field(default_factory=list)
    submissions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    jobs: list[JobRow] = field(default_factory=list)
    attempts: list[AttemptRow] = field(default_factory=list)
    engines: list[str] = field(default_factory=list)
    artifacts: dict[str, int] = field(default_factory=dict)
    stored: dict[str, tuple[str, int]] = field(default_factory=dict)
    children: list[int] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def read_sql(url: str, evidence: Evidence) -> None:
    """Fills in all that SQL holds."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    try:
        with engine.connect() as connection:
            _read_rows(connection, evidence)
    finally:
        engine.dispose()


def _read_rows(connection: sqlalchemy.Connection, evidence: Evidence) -> None:
    def rows(query: str) -> Iterable[Any]:
        return connection.execute(sqlalchemy.text(query)).all()

    for row in rows("SELECT id FROM submissions"):
        evidence.submissions[row.id] = ()
    for row in rows("SELECT submission_id, job_id FROM cells ORDER BY submission_id, position"):
        evidence.submissions[row.submission_id] += (row.job_id,)
    for row in rows("SELECT id, kind, dedup_sha256, state, request, failure_code, failure_message FROM jobs"):
        request = json.loads(row.request) if isinstance(row.request, str) else row.request
        why = f"{row.failure_code}: {row.failure_message}" if row.failure_code else ""
        evidence.jobs.append(
            JobRow(row.id, row.kind, row.dedup_sha256, row.state, request["max_attempts"], why)
        )
    for row in rows(
        "SELECT job_id, number, state, claimed_at, finished_at, failure_code FROM attempts"
        " ORDER BY job_id, number"
    ):
        released = row.failure_code == "Released"
        evidence.attempts.append(
            AttemptRow(row.job_id, row.number, row.state, row.claimed_at, row.finished_at, released)
        )
    evidence.engines += [row.spec_sha256 for row in rows("SELECT spec_sha256 FROM engines")]
    evidence.artifacts |= {
        row.sha256: row.size_bytes
        for row in rows("SELECT sha256, size_bytes FROM artifacts WHERE deleted_at IS NULL")
    }


def unfinished(url: str) -> int:
    """How many jobs are queued or running."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    try:
        with engine.connect() as connection:
            query = sqlalchemy.text("SELECT count(*) FROM jobs WHERE state IN ('QUEUED', 'RUNNING')")
            return int(connection.execute(query).scalar_one())
    finally:
        engine.dispose()


def read_store(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file that the store shows, with what it really holds."""
    found = {}
    for path in folder.glob("*/*/*"):
        if path.is_file() and path.relative_to(folder).parts[0] != _TEMPORARY:
            data = path.read_bytes()
            found[path.name] = (hashlib.sha256(data).hexdigest(), len(data))
    return found


def read_notes(paths: Iterable[Path]) -> list[Acknowledged]:
    """What clients noted; a line that a kill cut short was never acknowledged to anybody."""
    found = []
    for path in paths:
        with suppress(FileNotFoundError):
            for line in path.read_text().splitlines():
                with suppress(ValueError):
                    note = json.loads(line)
                    found.append(Acknowledged(note["submission"], tuple(note["jobs"])))
    return found


def children_of(scratches: Iterable[Path]) -> list[int]:
    """Processes that some child of these scratch folders is or has started, and that still run."""
    begins = [f"{MARK}={scratch}/".encode() for scratch in scratches]
    folders = [f"{scratch}/j-" for scratch in scratches]
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            marked = any(
                word.startswith(begin)
                for word in (entry / "environ").read_bytes().split(b"\0")
                for begin in begins
            )
            here = str((entry / "cwd").readlink())
            if (marked or here.startswith(tuple(folders))) and not _is_zombie(entry):
                found.append(int(entry.name))
    return sorted(found)


def _is_zombie(entry: Path) -> bool:
    return (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
