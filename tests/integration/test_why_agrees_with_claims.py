"""What `farm queue --why` promises is what the next claim does."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from farm.services.waiting import why_it_waits
from farm.storage import tables
from farm.storage.columns import DatabaseNow
from farm.storage.database import SqlDatabase
from tests.behaviours.given import HOUR_S, given_a_farm, later
from tests.factories import a_build_spec, a_device, a_job_request, a_target, a_toolchain, a_worker

if TYPE_CHECKING:
    from farm.services.waiting import Waiting

#: Two releases on one GPU, as one worker serves them.
STACKS = (a_toolchain(version="8.6.0"), a_toolchain(version="10.3.0"))
USERS = ("ada", "bob")

waiting_jobs = st.lists(
    st.tuples(st.sampled_from(STACKS), st.integers(0, 1), st.sampled_from(USERS)), min_size=1, max_size=6
)
had = st.tuples(st.sampled_from((0.0, 100.0)), st.sampled_from((0.0, 100.0)))


@given(wanted=waiting_jobs, shares=had)
@settings(max_examples=60, deadline=None)
def test_who_is_called_next_is_next_and_whoever_is_taken_was_not_told_that_others_go_first(
    sqlite_template: Path, wanted: list[tuple[object, int, str]], shares: tuple[float, float]
) -> None:
    with TemporaryDirectory() as folder:
        shutil.copy(sqlite_template, Path(folder) / "farm.db")
        database = SqlDatabase(f"sqlite:///{folder}/farm.db")
        try:
            said = fill(database, wanted, shares)
            with database.transaction() as transaction:
                claimed = transaction.jobs.claim_next(worker_id="w-both", device=a_device(), lease_s=HOUR_S)
        finally:
            database.close()
    assert claimed is not None
    promised = [job_id for job_id, waiting in said.items() if waiting.lines[-1].startswith("it is next")]
    assert promised in ([], [claimed[0].id])
    assert not any(said[claimed[0].id].ahead.values())


def fill(
    database: SqlDatabase, wanted: list[tuple[object, int, str]], shares: tuple[float, float]
) -> dict[str, Waiting]:
    """A farm of one worker with two targets, and what each of its jobs is told."""
    given_a_farm(database)
    with database.transaction() as transaction:
        transaction.fleet.stop("w-1")
        transaction.fleet.register(a_worker(id="w-both", name="both", toolchains=STACKS))
    with database.engine.begin() as connection:
        for user, device_s in zip(USERS, shares, strict=True):
            values = {"user_name": user, "device_s": device_s, "updated_at": DatabaseNow()}
            connection.execute(insert(tables.user_usage).values(values))
    ids = []
    for number, (stack, priority, user) in enumerate(wanted):
        spec = a_build_spec(salt=str(number), target=a_target(toolchain=stack.id))  # type: ignore[attr-defined]
        with database.transaction() as transaction:
            ids.append(transaction.jobs.add(spec, a_job_request(priority=priority), user=user).id)
        later()
    with database.reading() as transaction:
        return {job_id: why_it_waits(transaction, job_id) for job_id in ids}
