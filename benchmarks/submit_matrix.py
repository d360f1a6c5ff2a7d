"""What `farm submit` takes for a matrix of a thousand cells, beside bare inserts of as many rows in the same run.

    python -m benchmarks.submit_matrix                       # 1,000 cells on SQLite and on PostgreSQL
    python -m benchmarks.submit_matrix --types 10 --repeats 1

Runs the very command as a user does: a fresh process that starts Python, reads the model, plans the matrix, stores
the model, files the submission and prints its table. Once for a new matrix, once more by another user who shares it,
then `farm status` (the list) and `farm status SUBMISSION` (every cell). Wall time of the whole process, and its
processor time (without the database's), which says more on a crowded machine. The limit of a submission is 2 s for
1,000 cells. PostgreSQL with fsync, on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from benchmarks.provenance import provenance
from benchmarks.scale_fleet import ROOT, DurablePostgres
from farm.domain.identifiers import new_id
from farm.domain.precisions import PRECISIONS
from farm.samples import digits_model
from farm.storage import tables
from farm.storage.database import SqlDatabase
from farm.storage.schema import upgrade
from tests.factories import a_device_type, a_toolchain

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT_S = 2.0
#: Of every device type: all that TensorRT's description in tests/factories.py allows, at most ten.
CELLS_PER_TYPE = [name for name in PRECISIONS if name != "fp8"][:5]


def main() -> None:
    """Measures and prints."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--types", type=int, default=1000 // len(CELLS_PER_TYPE), help="device types")
    ask.add_argument("--repeats", type=int, default=3)
    ask.add_argument("--out", type=Path, help="write the figures to this JSON file")
    given = ask.parse_args()
    found = {
        **provenance("python -m benchmarks.submit_matrix", ("sqlalchemy", "psycopg", "click"), "--out"),
        "cells": given.types * len(CELLS_PER_TYPE),
        "limit_s": LIMIT_S,
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = digits_model()
        postgres = DurablePostgres()
        postgres.start()
        stack.callback(postgres.close)
        for kind in ("sqlite", "postgresql"):
            runs = []
            for number in range(given.repeats):
                home = folder / f"{kind}-{number}"
                (home / "artifacts").mkdir(parents=True)
                url = f"sqlite:///{home / 'farm.db'}" if kind == "sqlite" else postgres.createdb()
                runs.append(_one_run(url, home, model, given.types))
            found[kind] = {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}
            _show(kind, found["cells"], found[kind])
    if given.out:
        given.out.write_text(json.dumps(found, indent=2) + "\n")


def _one_run(url: str, home: Path, model: Path, types: int) -> dict[str, float]:
    database = SqlDatabase(url)
    upgrade(database)
    with database.transaction() as transaction:
        device_types = [replace(a_device_type(), product_name=f"GPU {number:04d}") for number in range(types)]
        transaction.fleet.describe(device_types, [a_toolchain()])
    environment = {"FARM_HOME": str(home), "FARM_DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
    precisions = ",".join(CELLS_PER_TYPE)
    words = [
        "submit",
        str(model),
        "--gpu",
        "all",
        "--precision",
        precisions,
        "--batch",
        "1,8",
        "--calibration",
        "random",
    ]
    commands = {
        "nothing": (["models"], {}),
        "new": (words, {"FARM_USER": "ada"}),
        "shared": (words, {"FARM_USER": "grace"}),
        "list": (["status"], {}),
    }
    figures = {}
    for name, (given, who) in commands.items():
        figures[f"{name}_s"], figures[f"{name}_cpu_s"] = _took(given, environment | who)
    of_newest = ["status", _newest(database)]
    figures["status_s"], figures["status_cpu_s"] = _took(of_newest, environment)
    figures["bare_inserts_s"] = _bare_inserts(database)
    database.close()
    figures["ratio"] = (figures["new_s"] - figures["nothing_s"]) / figures["bare_inserts_s"]
    return figures


def _took(words: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds that a command took, and of processors in its process alone."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("FARM_")}
    begin, before = time.perf_counter(), _children_cpu_s()
    command = [sys.executable, "-m", "cli.main", *words]
    done = subprocess.run(command, env=own | environment, capture_output=True, text=True)
    took_s = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr}")
    return took_s, _children_cpu_s() - before


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _newest(database: SqlDatabase) -> str:
    """The id of the newest submission."""
    query = select(tables.submissions.c.id).order_by(tables.submissions.c.created_at.desc()).limit(1)
    with database.engine.connect() as connection:
        return str(connection.execute(query).scalar_one())


def _bare_inserts(database: SqlDatabase) -> float:
    """Seconds to write the rows of the newest submission's jobs and cells again, under other keys."""
    with database.engine.connect() as connection:
        jobs = [dict(row) for row in connection.execute(select(tables.jobs)).mappings()]
        cells = [dict(row) for row in connection.execute(select(tables.cells)).mappings()][: len(jobs)]
        submission = connection.execute(select(tables.submissions).limit(1)).mappings().one()
    fresh = dict(submission) | {"id": new_id("s")}
    for job in jobs:
        job |= {"id": new_id("j"), "dedup_sha256": new_id("d")}
    for position, cell in enumerate(cells):
        cell |= {"submission_id": fresh["id"], "position": position, "job_id": jobs[position]["id"]}
    begin = time.perf_counter()
    with database.engine.connect() as connection, connection.begin():
        connection.execute(insert(tables.submissions), [fresh])
        connection.execute(insert(tables.jobs), jobs)
        connection.execute(insert(tables.cells), cells)
    return time.perf_counter() - begin


def _show(kind: str, cells: int, figures: dict[str, float]) -> None:
    print(f"{kind}, {cells} cells:")
    print(
        f"  a command that does next to nothing   {figures['nothing_s']:6.2f} s, {figures['nothing_cpu_s']:5.2f} s of processors"
    )
    print(
        f"  farm submit, all new                  {figures['new_s']:6.2f} s, {figures['new_cpu_s']:5.2f} s of processors   (limit {LIMIT_S} s)"
    )
    print(
        f"  farm submit, all shared               {figures['shared_s']:6.2f} s, {figures['shared_cpu_s']:5.2f} s of processors"
    )
    print(
        f"  farm status                           {figures['list_s']:6.2f} s, {figures['list_cpu_s']:5.2f} s of processors"
    )
    print(
        f"  farm status SUBMISSION                {figures['status_s']:6.2f} s, {figures['status_cpu_s']:5.2f} s of processors"
    )
    print(f"  bare inserts of the same rows         {figures['bare_inserts_s']:6.2f} s")
    print(f"  submit without start-up : inserts     {figures['ratio']:6.1f}")


if __name__ == "__main__":
    main()
