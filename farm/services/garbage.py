"""Garbage collection: removes what nothing refers to, and never what somebody is about to refer to.

A writer keeps the bytes first and files what refers to them afterwards. Between the two nothing refers to them,
so their age protects them: keeping or touching bytes makes them young, and only old ones are removed. The rest
is done by the row: who refers to an artifact notes it in the same transaction, and waits there for the
transaction that marks it as deleted, which looks at all references once more.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from farm.domain.durations import duration_text
from farm.domain.errors import ConflictError, InvalidRequestError
from farm.domain.garbage import UNKNOWN_KIND, GarbageArtifact, RetireQuery, Sweep
from farm.domain.identifiers import new_id
from farm.domain.stores import DEFAULT_GRACE_S, LEAST_GRACE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from farm.domain.filing import Engine
    from farm.domain.stores import StoredArtifact
    from farm.services.ports import ArtifactStore, Database, Transaction

#: So many artifacts are judged in one transaction.
_BATCH = 200
_DUTY = "garbage"
#: Longer than one transaction and the removals that follow it take.
_DUTY_S = 300.0


def check_grace(seconds: float, least_s: float = LEAST_GRACE_S) -> float:
    """How long bytes stay that nothing refers to.

    Raises:
        InvalidRequestError: less than a writer may need between keeping bytes and filing them.
    """
    if seconds < least_s:
        raise InvalidRequestError(
            f"artifacts of the last {duration_text(least_s)} always stay; {duration_text(seconds)} is less",
            hint="A worker that is uploading at this moment has not filed yet what refers to its bytes.",
        )
    return seconds


def collect(
    database: Database,
    store: ArtifactStore,
    *,
    grace_s: float = DEFAULT_GRACE_S,
    retire: RetireQuery | None = None,
    dry_run: bool = False,
    progress: Callable[[str], None] = lambda _line: None,
) -> Sweep:
    """Looks for garbage, and unless told to look only, removes it.

    Args:
        database: the truth.
        store: the bytes.
        grace_s: artifacts that were kept or touched in the last seconds stay.
        retire: engines to give up; none to leave all.
        dry_run: whether to look only.
        progress: told what goes on.

    Raises:
        ConflictError: another collection is under way.
        StoreUnavailableError: the store does not answer; what was removed so far is consistent.
        DatabaseUnavailableError: likewise; or this login may not do it.
    """
    holder = new_id("gc")
    if dry_run:
        return _look(database, store, grace_s, retire, progress)
    with database.reading() as transaction:
        transaction.garbage.check_operator()
    _hold(database, holder)
    try:
        return _collect(database, store, holder, grace_s, retire, progress)
    finally:
        with database.transaction() as transaction:
            transaction.fleet.leave_duties(holder)


def _look(
    database: Database,
    store: ArtifactStore,
    grace_s: float,
    retire: RetireQuery | None,
    progress: Callable[[str], None],
) -> Sweep:
    kept_before = store.now() - timedelta(seconds=grace_s)
    progress("listing the store …")
    stored = list(store.listing())
    with database.reading() as transaction:
        engines = _retirable(transaction, retire)
        referenced, kinds = transaction.garbage.referenced(), transaction.garbage.kinds()
        # What only the engines to be retired refer to is garbage once they are.
        going = {engine.id for engine in engines}
        left = [e.digest.sha256 for e in transaction.engines.engines() if e.id not in going]
        referenced -= {engine.digest.sha256 for engine in engines} - set(left)
    unwanted = [item for item in stored if item.digest.sha256 not in referenced]
    garbage = tuple(
        GarbageArtifact(item, kinds.get(item.digest.sha256, UNKNOWN_KIND))
        for item in unwanted
        if item.kept_at < kept_before
    )
    leftovers = store.clear_leftovers(kept_before, dry_run=True)
    return _sum(Sweep(kept_before, engines, garbage, leftovers), stored, len(unwanted) - len(garbage))


def _collect(
    database: Database,
    store: ArtifactStore,
    holder: str,
    grace_s: float,
    retire: RetireQuery | None,
    progress: Callable[[str], None],
) -> Sweep:
    retired = _retire(database, retire, progress)
    found = _look(database, store, grace_s, None, progress)
    removed: list[GarbageArtifact] = []
    spared = 0
    for start in range(0, len(found.artifacts), _BATCH):
        batch = found.artifacts[start : start + _BATCH]
        _hold(database, holder)
        with database.transaction() as transaction:
            condemned = transaction.garbage.condemn([item.stored.digest for item in batch])
        # After the commit: until then it could still fail, and the bytes be gone already.
        for item in batch:
            if item.stored.digest.sha256 in condemned and store.remove(item.stored.digest, found.kept_before):
                removed.append(item)
            else:
                spared += 1
        progress(f"removed {len(removed)} of {len(found.artifacts)} artifacts")
    leftovers = store.clear_leftovers(found.kept_before)
    done = replace(
        found, engines=retired, artifacts=tuple(removed), leftovers=leftovers, spared=spared, is_done=True
    )
    gone = sum(item.stored.digest.size_bytes for item in removed)
    return replace(
        done,
        freed_bytes=gone + leftovers.size_bytes,
        kept_artifacts=found.kept_artifacts + spared,
        kept_bytes=found.kept_bytes + sum(i.stored.digest.size_bytes for i in found.artifacts) - gone,
    )


def _sum(sweep: Sweep, stored: list[StoredArtifact], too_young: int) -> Sweep:
    going = sum(item.stored.digest.size_bytes for item in sweep.artifacts)
    return replace(
        sweep,
        freed_bytes=going + sweep.leftovers.size_bytes,
        too_young=too_young,
        kept_artifacts=len(stored) - len(sweep.artifacts),
        kept_bytes=sum(item.digest.size_bytes for item in stored) - going,
    )


def _retirable(transaction: Transaction, query: RetireQuery | None) -> tuple[Engine, ...]:
    if query is None:
        return ()
    return tuple(transaction.engines.get(number) for number in transaction.garbage.retirable(query))


def _retire(
    database: Database, query: RetireQuery | None, progress: Callable[[str], None]
) -> tuple[Engine, ...]:
    with database.reading() as transaction:
        found = _retirable(transaction, query)
    done = []
    for engine in found:
        with database.transaction() as transaction:
            if transaction.garbage.retire(engine.id):
                done.append(engine)
    if done:
        progress(f"retired {len(done)} engines")
    return tuple(done)


def _hold(database: Database, holder: str) -> None:
    with database.transaction() as transaction:
        if not transaction.fleet.hold_duty(_DUTY, holder, _DUTY_S):
            raise ConflictError(
                "another garbage collection is under way",
                hint="Wait for it; one that was killed ends in 5 min.",
            )
