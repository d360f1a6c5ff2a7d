"""(i) Workers of the release before, which run on while the schema moves up and workers of this one join."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.chaos.members import Release
from tests.chaos.ordeal import Scenario
from tests.fake_toolchain.harness import ROOT, Fake

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.ordeal import Stage

#: The last commit of the release before, and its schema.
BEFORE, SCHEMA_BEFORE = "9eeed78", "0001"
_PATIENCE_S = 60.0
_FIELDS = (
    "import dataclasses, json; from farm.settings import Settings;"
    " print(json.dumps([field.name for field in dataclasses.fields(Settings)]))"
)


def no_history() -> str:
    """Why the release before can not be had; empty if it can."""
    if shutil.which("git") is None:
        return "there is no git to unpack the release before"
    found = ["git", "cat-file", "-e", f"{BEFORE}^{{commit}}"]
    done = subprocess.run(found, cwd=ROOT, capture_output=True, check=False)
    return "" if done.returncode == 0 else f"this checkout has no commit {BEFORE}: its history is cut short"


def unpack(folder: Path) -> Release:
    """The release before, in a folder, with a fake toolchain that runs its own child."""
    folder.mkdir()
    command = ["git", "archive", BEFORE]
    archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x"], cwd=folder, input=archive, check=True)  # noqa: S607
    fields = subprocess.run(
        [sys.executable, "-c", _FIELDS],
        cwd=folder,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        check=True,
    ).stdout
    fake = Fake(folder / "fake")
    fake.python.write_text(fake.python.read_text().replace(f"{ROOT}/tests/", f"{folder}/tests/"))
    return Release(folder, frozenset(json.loads(fields)), fake)


def previous_release(stage: Stage) -> None:
    """Old workers start on the old schema; it moves up under them; old and new share the work; the old are stopped."""
    fleet = stage.fleet
    before = unpack(stage.folder / "before")
    old = [fleet.worker(release=before), fleet.worker(release=before)]
    fleet.wait_until_ready()
    fleet.upgrade()
    fleet.fault("move the schema up")
    fleet.client(stage.size, gap_s=1.0)
    fleet.wait_until_ready()
    # With nobody else there to do it.
    fleet.wait_for_success(_PATIENCE_S)
    new = fleet.worker()
    new.wait_until_ready()
    fleet.pause(1, 3)
    old[0].kill()
    fleet.fault("kill an old worker")
    fleet.pause(0.5, 2)
    old[1].signal(signal.SIGTERM)
    fleet.fault("stop an old worker")
    old[1].wait(30)


SCENARIOS = (
    Scenario(
        "workers of the release before on the new schema",
        previous_release,
        {"schema": SCHEMA_BEFORE, "rebuilds": True},
        no_history,
    ),
)
