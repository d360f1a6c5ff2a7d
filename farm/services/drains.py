"""Drain and resume workers by name, id or host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.errors import ConflictError, InvalidRequestError, NotFoundError
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from farm.domain.work import Worker
    from farm.services.ports import Transaction


def drain_workers(transaction: Transaction, word: str, reason: str, user: str) -> list[Worker]:
    """Tells workers to finish what they do and take nothing new; those that were told.

    Args:
        transaction: that writes.
        word: a worker's name, its id or the id's beginning, or a host for all of its workers.
        reason: for people.
        user: who asks.

    Raises:
        NotFoundError: no worker that has not left is called so.
        InvalidRequestError: several ids begin like that.
    """
    found = named_workers(transaction, word)
    for worker in found:
        transaction.fleet.drain(worker.name, reason, user)
    return found


def resume_workers(transaction: Transaction, word: str) -> list[str]:
    """Lets workers take jobs again; the names of those that were drained.

    Raises:
        NotFoundError: no worker is called so.
        ConflictError: none of them was drained.
    """
    names = sorted({worker.name for worker in named_workers(transaction, word, also_left=True)})
    resumed = [name for name in names if transaction.fleet.resume(name)]
    if not resumed:
        raise ConflictError(f"{', '.join(names)} was not drained", hint="`farm workers` shows which are.")
    return resumed


def named_workers(transaction: Transaction, word: str, *, also_left: bool = False) -> list[Worker]:
    """The newest worker of every name that a word means.

    Raises:
        NotFoundError: none is called so.
        InvalidRequestError: several ids begin like that.
    """
    known = [w for w in transaction.fleet.workers() if w.name and (also_left or w.stopped_at is None)]
    newest = {worker.name: worker for worker in sorted(known, key=lambda worker: worker.started_at)}
    if word in newest:
        return [newest[word]]
    of_host = [worker for worker in newest.values() if worker.host == word]
    if of_host:
        return sorted(of_host, key=lambda worker: worker.name)
    by_id = [worker for worker in known if word.startswith("w-") and worker.id.startswith(word)]
    if len(by_id) > 1 and word not in {worker.id for worker in by_id}:
        raise InvalidRequestError(f"several workers begin with {word!r}", hint="Give more of the id.")
    if not by_id:
        names = [*newest, *sorted({worker.host for worker in newest.values()})]
        raise NotFoundError(
            f"no worker is called {word!r}", hint=did_you_mean(word, names) or "`farm workers` lists them."
        )
    return by_id[:1]
