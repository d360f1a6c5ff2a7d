"""The sign of life: the kernel takes it away with the process, and nobody else can."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from farm.services.dead_workers import Death
from workers import life_sign
from workers.life_sign import LifeSign, clear_old, dead_workers, death_of, forget

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIVES = """
import sys, time
from pathlib import Path
from workers.life_sign import LifeSign
LifeSign(Path(sys.argv[1]), "w-dies").give()
print("lives", flush=True)
time.sleep(1000)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Not made yet."""
    return tmp_path / "locks"


@pytest.fixture
def process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that gave its sign as `w-dies`."""
    with subprocess.Popen(
        [sys.executable, "-c", LIVES, str(folder)], stdout=subprocess.PIPE, text=True
    ) as made:
        assert made.stdout is not None
        assert made.stdout.readline() == "lives\n"
        yield made
        made.kill()


def died(process: subprocess.Popen[str]) -> None:
    """As the out-of-memory killer would have it."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_who_lives_is_not_dead_and_who_ends_in_order_is_not_either(folder: Path) -> None:
    sign = LifeSign(folder, "w-1").give()
    assert dead_workers(folder) == {}
    sign.withdraw()
    sign.withdraw()
    assert list(folder.iterdir()) == []
    assert death_of(folder, "w-1") is None, "of whom there is nothing nobody can say anything"


def test_who_is_killed_is_dead_until_that_is_forgotten(folder: Path, process: subprocess.Popen[str]) -> None:
    assert dead_workers(folder) == {}
    died(process)
    assert dead_workers(folder) == {"w-dies": Death.PROCESS}
    forget(folder, "w-dies")
    assert dead_workers(folder) == {}


def test_who_died_before_the_machine_was_started_went_down_with_it(
    folder: Path, process: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    died(process)
    monkeypatch.setattr(life_sign, "_boot_id", lambda: b"of another start")
    assert death_of(folder, "w-dies") is Death.MACHINE


def test_a_sign_has_its_name_only_once_it_is_locked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    lock = life_sign.fcntl.flock

    def look_around(file: int, operation: int) -> None:
        seen.extend(path.name for path in folder.glob("worker-*"))
        lock(file, operation)

    monkeypatch.setattr(life_sign.fcntl, "flock", look_around)
    LifeSign(folder, "w-1").give()
    assert seen == []
    assert [path.name for path in folder.iterdir()] == ["worker-w-1.life"]


def test_the_file_of_a_dead_worker_under_the_name_of_a_living_one_says_nothing(
    folder: Path, process: subprocess.Popen[str]
) -> None:
    died(process)
    (folder / "worker-w-dies.life").rename(folder / "worker-w-lives.life")
    assert dead_workers(folder) == {}


def test_the_file_of_another_user_says_nothing(
    folder: Path, process: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    died(process)
    somebody_else = os.geteuid() + 1
    monkeypatch.setattr(life_sign.os, "geteuid", lambda: somebody_else)
    assert dead_workers(folder) == {}


def test_a_link_or_a_pipe_says_nothing_and_holds_nobody_up(
    folder: Path, process: subprocess.Popen[str]
) -> None:
    died(process)
    (folder / "worker-w-link.life").symlink_to(folder / "worker-w-dies.life")
    os.mkfifo(folder / "worker-w-pipe.life")
    assert dead_workers(folder) == {"w-dies": Death.PROCESS}


def test_everybody_may_write_to_the_folder_and_take_away_only_what_is_theirs(folder: Path) -> None:
    LifeSign(folder, "w-1").give()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777


def test_a_worker_goes_on_where_it_can_give_no_sign(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder.write_text("no folder")
    sign = LifeSign(folder, "w-1").give()
    assert "FARM_LOCKS" in caplog.text
    sign.withdraw()
    assert dead_workers(folder) == {}


def test_what_was_left_long_ago_is_cleared_and_what_lives_stays(
    folder: Path, process: subprocess.Popen[str]
) -> None:
    died(process)
    LifeSign(folder, "w-1").give()
    clear_old(folder)
    assert len(list(folder.iterdir())) == 2
    for path in folder.iterdir():
        os.utime(path, (0, 0))
    clear_old(folder)
    assert [path.name for path in folder.iterdir()] == ["worker-w-1.life"]
