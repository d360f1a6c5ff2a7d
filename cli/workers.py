"""`farm workers`: who works, on what, and who does not any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cli.context import json_option, opened
from cli.devices import progress_text
from cli.render import age, show_json, show_line, show_table
from farm.domain.fleet import LEAVING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from farm.domain.fleet import Drain, Worker
    from farm.domain.work import Attempt


@click.command(short_help="List workers: live, draining and lost.")
@click.option("--all", "show_all", is_flag=True, help="Also those that have left or were replaced.")
@json_option
@click.pass_context
def workers(ctx: click.Context, show_all: bool, as_json: bool) -> None:
    """List workers: what each serves, whether it lives, and how far its job is.

    \b
    farm workers
    """
    farm = opened(ctx)
    with farm.database.reading() as transaction:
        found = transaction.fleet.workers()
        drains = transaction.fleet.drains()
        running = transaction.jobs.running()
        slugs = {device_type: slug for slug, device_type in transaction.fleet.device_types().items()}
        now = transaction.now()
    gone = replaced(found)
    shown = [w for w in found if show_all or (w.stopped_at is None and w.id not in gone)]
    documents = [_document(worker, running.get(worker.id), slugs, now) for worker in shown]
    present = {worker.name for worker in shown if worker.stopped_at is None}
    absent = [drain for drain in drains if drain.name not in present]
    if as_json:
        show_json([*documents, *map(_document_of_absent, absent)])
        return
    show_table(
        ["worker", "name", "state", "device", "toolchains", "job", "phase", "for>", "heartbeat"],
        [
            (
                worker.id,
                worker.name,
                document["state"],
                document["device_type"],
                ", ".join(map(str, worker.toolchains)),
                document["job"],
                progress_text(document["phase"], document["fraction"], waits=bool(document["waits"])),
                age(attempt.claimed_at, now).removesuffix(" ago") if attempt else None,
                age(worker.heartbeat_at, now),
            )
            for worker, document, attempt in zip(
                shown, documents, [running.get(worker.id) for worker in shown], strict=True
            )
        ],
        empty="No worker is running: "
        + (
            "`farm up` starts one."
            if farm.settings.is_embedded
            else "`farm worker` on a host starts its own."
        ),
    )
    for document in documents:
        if document["drain_reason"] and document["state"] != "left":
            show_line(f"{document['name']} takes nothing new: {document['drain_reason']}")
        if document["waits"]:
            show_line(f"{document['name']} is {document['waits']}")
    for drain in absent:
        show_line(
            f"{drain.name} is not running, and would take nothing: {drain.reason} "
            f"({drain.requested_by}, {age(drain.since, now)}); `farm worker resume {drain.name}` lifts it"
        )
    for name, places in shared_names(shown):
        show_line(
            f"{name} is the name of {len(places)} live workers ({', '.join(places)}), which are drained and "
            "resumed together: give each its own --name"
        )


def shared_names(workers: Iterable[Worker]) -> list[tuple[str, list[str]]]:
    """The names that several live workers have, and where those are."""
    places: dict[str, list[str]] = {}
    for worker in workers:
        # One that is about to stop makes way for its successor.
        if worker.is_live and worker.name and worker.drain_reason != LEAVING:
            places.setdefault(worker.name, []).append(f"{worker.host} pid {worker.pid}")
    return [(name, found) for name, found in places.items() if len(found) > 1]


def replaced(workers: Iterable[Worker]) -> set[str]:
    """The ids of lost workers after which one of the same name was started: nobody misses them any more.

    One that was started while they still lived has taken their name, and not their place.
    """
    newest: dict[str, datetime] = {}
    found = list(workers)
    for worker in found:
        newest[worker.name] = max(worker.started_at, newest.get(worker.name, worker.started_at))
    return {w.id for w in found if w.name and not w.is_live and w.heartbeat_at < newest[w.name]}


def state_of(worker: Worker) -> str:
    """live, draining (it still runs something), drained, lost or left."""
    if worker.stopped_at is not None:
        return "left"
    if not worker.is_live:
        return "lost"
    if worker.drain_reason:
        return "draining" if worker.current_job else "drained"
    return "live"


def _document(
    worker: Worker, attempt: Attempt | None, slugs: dict[Any, str], now: datetime
) -> dict[str, Any]:
    return {
        "id": worker.id,
        "name": worker.name,
        "state": state_of(worker),
        "drain_reason": worker.drain_reason or None,
        "host": worker.host,
        "pid": worker.pid,
        "device": worker.device.uuid,
        "device_type": slugs.get(worker.device.device_type),
        "targets": [f"{slugs[t.device_type]} · {t.toolchain}" for t in worker.targets],
        "job": worker.current_job or None,
        "phase": attempt.phase if attempt and worker.current_job else None,
        "fraction": attempt.fraction if attempt and worker.current_job else None,
        "job_s": round((now - attempt.claimed_at).total_seconds(), 1) if attempt else None,
        "waits": (attempt and attempt.waits) or None,
        "started_at": worker.started_at,
        "heartbeat_at": worker.heartbeat_at,
    }


def _document_of_absent(drain: Drain) -> dict[str, Any]:
    """A drain of workers that do not run, as `farm worker resume` may lift it."""
    return {
        "id": None,
        "name": drain.name,
        "state": "absent",
        "drain_reason": drain.reason,
        "drained_by": drain.requested_by,
        "drained_at": drain.since,
    }
