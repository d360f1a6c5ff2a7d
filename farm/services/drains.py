"""Drain and resume workers by name, id or host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.errors import ConflictError, InvalidRequestError, NotFoundError
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from farm.domain.fleet import Worker
    from farm.services.ports import Transaction


def drain_workers(
    transaction: Transaction, word: str, reason: str, user: str, *, is_host: bool = False
) -> list[Worker]:
    """Tells workers to finish what they do and take nothing new; they, as they were before.

    One that was drained before keeps its reason. One that does not run is drained when it is started again.

    Args:
        transaction: that writes.
        word: a worker's name, its id or the id's beginning; or a host.
        reason: for people.
        user: who asks.
        is_host: whether the word is a host, whose workers are meant.

    Raises:
        NotFoundError: no worker is called so.
        InvalidRequestError: the word means several, and one is wanted.
    """
    found = named_workers(transaction, word, is_host=is_host)
    for worker in found:
        transaction.fleet.drain(worker.name, reason, user)
    return found


def resume_workers(transaction: Transaction, word: str, *, is_host: bool = False) -> list[str]:
    """Lets workers take jobs again; the names of those that were drained.

    Raises:
        NotFoundError: no worker is called so.
        InvalidRequestError: the word means several, and one is wanted.
        ConflictError: none of them was drained.
    """
    names = [worker.name for worker in named_workers(transaction, word, is_host=is_host)]
    resumed = [name for name in names if transaction.fleet.resume(name)]
    if not resumed:
        raise ConflictError(f"{', '.join(names)} was not drained", hint="`farm workers` shows which are.")
    return resumed


def named_workers(transaction: Transaction, word: str, *, is_host: bool = False) -> list[Worker]:
    """The newest worker of every name that a word means, by their names.

    Raises:
        NotFoundError: none is called so.
        InvalidRequestError: the word means several, and one is wanted.
    """
    known = [worker for worker in transaction.fleet.workers() if worker.name]
    newest = {worker.name: worker for worker in sorted(known, key=lambda w: (w.is_live, w.started_at))}
    of_host = sorted(
        (worker for worker in newest.values() if worker.host == word), key=lambda worker: worker.name
    )
    if is_host:
        # What left a host for good, such as a GPU that was taken out, is nobody's any more.
        here = [worker for worker in of_host if worker.is_live or worker.stopped_at is None] or of_host
        if not here:
            raise NotFoundError(
                f"no worker is of a host {word!r}", hint=did_you_mean(word, {w.host for w in newest.values()})
            )
        return here
    if word in newest:
        return [newest[word]]
    by_id = [worker for worker in known if word.startswith("w-") and worker.id.startswith(word)]
    if len(by_id) > 1 and word not in {worker.id for worker in by_id}:
        raise InvalidRequestError(f"several workers begin with {word!r}", hint="Give more of the id.")
    if by_id:
        return [newest[by_id[0].name]]
    if len(of_host) > 1:
        raise InvalidRequestError(
            f"{word} is a host of {len(of_host)} workers: {', '.join(worker.name for worker in of_host)}",
            hint=f"Name one of them, or all with `{word} --host`.",
        )
    if of_host:
        return of_host
    raise NotFoundError(
        f"no worker is called {word!r}", hint=did_you_mean(word, newest) or "`farm workers` lists them."
    )
