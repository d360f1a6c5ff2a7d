"""The checker: what must hold of a fleet after every fault, as pure rules over the evidence."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.evidence import AttemptRow, Evidence

TERMINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})
#: Kinds of violations: a submission that never ends, work done twice, bytes that are wrong, what stays behind.
LOST, DOUBLED, BROKEN, LEFT = "lost", "doubled", "broken", "left"


@dataclass(frozen=True)
class Violation:
    """One promise that was not kept."""

    kind: str
    text: str


def violations(evidence: Evidence, *, rebuilds: bool = False) -> list[Violation]:
    """Every promise that was not kept.

    Args:
        evidence: of a fleet that has come to rest.
        rebuilds: whether a key may be built again after it was built: where a worker of a release before
            signatures took part, its engine counts for nothing and is built anew.
    """
    rules = (_submissions, _states, _tries, _overlaps, _artifacts, _leftovers)
    found = [violation for rule in rules for violation in rule(evidence)]
    return found + list(_winners(evidence, rebuilds=rebuilds))


def _submissions(evidence: Evidence) -> Iterator[Violation]:
    state_of = {job.id: job.state for job in evidence.jobs}
    for noted in evidence.acknowledged:
        if noted.submission not in evidence.submissions:
            yield Violation(LOST, f"submission {noted.submission} vanished")
            continue
        cells = evidence.submissions[noted.submission]
        if cells != noted.jobs:
            yield Violation(
                LOST, f"submission {noted.submission} has cells {cells}, acknowledged were {noted.jobs}"
            )
        for job in noted.jobs:
            if state_of.get(job) not in TERMINAL:
                yield Violation(LOST, f"job {job} of submission {noted.submission} is {state_of.get(job)}")


def _states(evidence: Evidence) -> Iterator[Violation]:
    for job in evidence.jobs:
        if job.state not in TERMINAL:
            yield Violation(LEFT, f"job {job.id} is {job.state}")
    for attempt in evidence.attempts:
        if attempt.state == "RUNNING" or attempt.finished_at is None:
            yield Violation(LEFT, f"attempt {attempt.number} of job {attempt.job} is {attempt.state}")


def _attempts_by_job(evidence: Evidence) -> dict[str, list[AttemptRow]]:
    found: dict[str, list[AttemptRow]] = defaultdict(list)
    for attempt in evidence.attempts:
        found[attempt.job].append(attempt)
    return found


def _tries(evidence: Evidence) -> Iterator[Violation]:
    attempts = _attempts_by_job(evidence)
    for job in evidence.jobs:
        counted = sum(not attempt.released for attempt in attempts[job.id])
        if counted > job.max_attempts:
            yield Violation(DOUBLED, f"job {job.id} had {counted} attempts, {job.max_attempts} were allowed")
        numbers = sorted(attempt.number for attempt in attempts[job.id])
        if numbers != list(range(1, len(numbers) + 1)):
            yield Violation(BROKEN, f"job {job.id} has attempts {numbers}")


def _overlaps(evidence: Evidence) -> Iterator[Violation]:
    for job, attempts in _attempts_by_job(evidence).items():
        in_order = sorted(attempts, key=lambda attempt: attempt.number)
        for before, after in pairwise(in_order):
            if before.finished_at is None or after.claimed_at < before.finished_at:
                text = f"attempt {after.number} of job {job} began before attempt {before.number} had ended"
                yield Violation(DOUBLED, text)


def _winners(evidence: Evidence, *, rebuilds: bool) -> Iterator[Violation]:
    won = Counter(attempt.job for attempt in evidence.attempts if attempt.state == "SUCCEEDED")
    for job in evidence.jobs:
        wanted = int(job.state == "SUCCEEDED")
        if won[job.id] != wanted:
            kind = DOUBLED if won[job.id] > wanted else BROKEN
            yield Violation(kind, f"job {job.id} is {job.state} with {won[job.id]} attempts that succeeded")
    for key, count in Counter(evidence.engines).items():
        if count > 1:
            yield Violation(DOUBLED, f"{count} engines of key {key}")
    built = Counter(job.key for job in evidence.jobs if job.kind == "build" and job.state == "SUCCEEDED")
    for key, count in built.items():
        if count > 1 and not rebuilds:
            yield Violation(DOUBLED, f"key {key} was built by {count} jobs")
    live = Counter(job.key for job in evidence.jobs if job.state not in TERMINAL)
    for key, count in live.items():
        if count > 1:
            yield Violation(DOUBLED, f"key {key} has {count} live jobs")


def _artifacts(evidence: Evidence) -> Iterator[Violation]:
    for name, (sha256, _) in evidence.stored.items():
        if sha256 != name:
            yield Violation(BROKEN, f"the store shows {name[:12]} with other bytes")
    for sha256, size in evidence.artifacts.items():
        if sha256 not in evidence.stored:
            yield Violation(BROKEN, f"the store has no {sha256[:12]}, which SQL refers to")
        elif evidence.stored[sha256][1] != size:
            yield Violation(BROKEN, f"{sha256[:12]} has {evidence.stored[sha256][1]} bytes, SQL says {size}")


def _leftovers(evidence: Evidence) -> Iterator[Violation]:
    for pid in evidence.children:
        yield Violation(LEFT, f"process {pid} of a child still runs")
    for name in evidence.leftovers:
        yield Violation(LEFT, f"scratch folder {name} is still there")
    for text in evidence.complaints:
        yield Violation(BROKEN, text)
