# ruff: noqa: T201 - a program that prints its state
"""`python -m tests.chaos.client_process DOCUMENT`: submits, and notes what was acknowledged before all else."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.submission import announce
from farm.bootstrap import open_farm
from farm.domain.errors import TransientError
from farm.domain.work import JobRequest
from farm.services.plan import BuildRequest, plan_builds
from farm.services.submit import SubmitOrder, keep_model, submit_plan
from farm.storage.onnx_files import read_model
from tests.chaos.documents import settings_from
from tests.fake_toolchain.harness import QUICK

if TYPE_CHECKING:
    from farm.bootstrap import Farm
    from farm.domain.work import Submission

_GAP_S = 0.2
#: Of three submissions one asks for what somebody asked for before.
_KEYS = ("fp32",), ("tf32",), ("fp32", "tf32")


def main(document: dict[str, Any]) -> None:
    """Submits as often as it is told to, as fast or slowly as its seed says."""
    rng = random.Random(document["seed"])  # noqa: S311 - a test's own
    farm = _opened(document)
    print("ready", flush=True)
    with Path(document["notes"]).open("a") as notes:
        for number in range(document["count"]):
            salt = f"{document['salt']}-{rng.randrange(document['keys'])}"
            submission = _submit(farm, document, salt, rng.choice(_KEYS), f"{document['name']}-{number}")
            note = {"submission": submission.id, "jobs": [cell.job_id for cell in submission.cells]}
            notes.write(json.dumps(note) + "\n")
            notes.flush()
            os.fsync(notes.fileno())
            announce(farm)
            time.sleep(rng.uniform(0, document["gap_s"]))
    print("done", flush=True)


def _opened(document: dict[str, Any]) -> Farm:
    while True:
        try:
            return open_farm(settings_from(document["settings"]))
        except TransientError as error:
            print(f"again: {error}", flush=True)
            time.sleep(_GAP_S)


def _submit(
    farm: Farm, document: dict[str, Any], salt: str, precisions: tuple[str, ...], tag: str
) -> Submission:
    """Until it is acknowledged: whoever is told that the farm is away tries again."""
    path = Path(document["model"])
    while True:
        try:
            known = read_model(path)
            keep_model(farm.store, known, path.parent, lambda _line: None)
            with farm.database.reading() as transaction:
                wanted = BuildRequest(toolchains=("fake",), precisions=precisions, salt=salt, batches=())
                plan = plan_builds(transaction, known, wanted)
            request = JobRequest(
                benchmark=QUICK, max_attempts=document["max_attempts"], deadline_s=document["deadline_s"]
            )
            order = SubmitOrder("small", document["name"], {"tag": tag}, request)
            return submit_plan(farm.database, known, plan, order)
        except TransientError as error:
            print(f"again: {error}", flush=True)
            time.sleep(_GAP_S)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
