"""The lock on a device holds between users of one host, too, whoever came first and whoever made its file."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import DeviceUnavailableError
from workers.device_lock import DeviceLock

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
#: Two accounts without rights, whether or not the host has names for them.
ONE, OTHER = 65_533, 65_534
pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can be two users")

# The packages are read before the account changes: their folder may be root's alone.
_HOLD = """
import os, sys
from pathlib import Path
from workers.device_lock import DeviceLock
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1])); os.umask(0o077)
with DeviceLock("GPU-1", folder=Path(sys.argv[2]), purpose="a benchmark"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by(user: int, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of a user that holds the device while the block runs."""
    command = [sys.executable, "-c", _HOLD, str(user), str(folder)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.communicate("")


@pytest.fixture
def folder() -> Iterator[Path]:
    """In a place that everybody may enter; the folder of a test is its user's alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o1777)
        yield Path(name) / "locks"


def test_a_user_can_not_take_what_another_one_holds_and_is_told_who(folder: Path) -> None:
    with held_by(ONE, folder) as holder:
        assert (folder.stat().st_uid, (folder / "GPU-1.lock").stat().st_uid) == (ONE, ONE)
        refused = subprocess.run(
            [sys.executable, "-c", _HOLD, str(OTHER), str(folder)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert f"GPU-1 is held by process {holder.pid} on" in refused.stderr
        with pytest.raises(DeviceUnavailableError):
            DeviceLock("GPU-1", folder=folder).acquire()


def test_when_one_user_is_done_another_one_takes_it_with_the_first_ones_file(folder: Path) -> None:
    for user in (ONE, OTHER, 0):
        with held_by(user, folder):
            assert (folder / "GPU-1.lock").stat().st_uid == ONE
