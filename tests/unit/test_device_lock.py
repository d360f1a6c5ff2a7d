"""The lock that keeps a device for one holder."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from farm.domain.errors import DeviceUnavailableError
from workers.device_lock import DeviceLock, is_containers_own

ROOT = Path(__file__).parents[2]

_HOLD = """
import sys, time
from pathlib import Path
from workers.device_lock import DeviceLock
with DeviceLock("GPU-1", folder=Path(sys.argv[1]), purpose="a benchmark"):
    print("held", flush=True)
    time.sleep(60)
"""


def _holder(folder: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_two_processes_exclude_each_other_and_sigkill_frees_the_device(tmp_path: Path) -> None:
    lock = DeviceLock("GPU-1", folder=tmp_path / "locks")
    with _holder(tmp_path / "locks") as holder:
        with pytest.raises(
            DeviceUnavailableError, match=f"held by process {holder.pid} on .* for a benchmark"
        ):
            lock.acquire()
        DeviceLock("GPU-2", folder=tmp_path / "locks").acquire()
        holder.kill()
        lock.wait(10)
        assert f"process {os.getpid()} " in lock.holder()


def test_waiting_ends_at_its_limit(tmp_path: Path) -> None:
    with DeviceLock("GPU-1", folder=tmp_path):
        begun = time.monotonic()
        with pytest.raises(DeviceUnavailableError, match="is held by"):
            DeviceLock("GPU-1", folder=tmp_path).wait(0.2)
        assert 0.2 <= time.monotonic() - begun < 5


def test_a_device_that_was_given_back_can_be_taken_again_and_names_no_holder(tmp_path: Path) -> None:
    with DeviceLock("GPU-1", folder=tmp_path) as lock:
        assert lock.holder()
    assert lock.holder() == ""
    with pytest.raises(ValueError, match="nobody"), DeviceLock("GPU-1", folder=tmp_path):
        raise ValueError("nobody minds how the block ends")
    lock.acquire()
    lock.release()
    lock.release()


def test_one_lock_can_not_be_taken_twice(tmp_path: Path) -> None:
    with DeviceLock("GPU-1", folder=tmp_path) as lock, pytest.raises(RuntimeError, match="held already"):
        lock.acquire()


def test_a_child_that_inherits_the_lock_keeps_the_device_for_its_dead_parent(tmp_path: Path) -> None:
    lock = DeviceLock("GPU-1", folder=tmp_path)
    lock.acquire()
    with subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=[lock.fileno()]
    ) as child:
        os.close(lock.fileno())  # as the death of this process would
        other = DeviceLock("GPU-1", folder=tmp_path)
        with pytest.raises(DeviceUnavailableError):
            other.acquire()
        child.kill()
        other.wait(10)


def test_every_user_of_the_host_can_take_a_lock(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with DeviceLock("MIG-GPU-1/2/0", folder=tmp_path / "locks"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "locks").stat().st_mode & 0o7777 == 0o1777
    (file,) = (tmp_path / "locks").iterdir()
    assert (file.name, file.stat().st_mode & 0o777) == ("MIG-GPU-1_2_0.lock", 0o666)


def test_a_folder_that_can_not_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DeviceUnavailableError, match="can not lock GPU-1") as caught:
        DeviceLock("GPU-1", folder=tmp_path / "file").acquire()
    assert "file" in caught.value.hint


def test_whether_a_device_could_be_locked_is_known_without_taking_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DeviceUnavailableError, match="can not lock GPU-1"):
        DeviceLock("GPU-1", folder=tmp_path / "file").check()
    with DeviceLock("GPU-1", folder=tmp_path / "locks"):
        DeviceLock("GPU-1", folder=tmp_path / "locks").check()


@pytest.mark.parametrize("mark", [".dockerenv", "run/.containerenv"])
def test_a_folder_of_a_containers_own_file_system_is_told_from_one_that_is_mounted(
    tmp_path: Path, mark: str
) -> None:
    folder = tmp_path / "not" / "there" / "yet"
    assert not is_containers_own(folder, tmp_path)
    (tmp_path / mark).parent.mkdir(exist_ok=True)
    (tmp_path / mark).touch()
    assert is_containers_own(folder, tmp_path)
    # The kernel's own file system is mounted everywhere.
    assert not is_containers_own(Path("/proc/self"), tmp_path)
