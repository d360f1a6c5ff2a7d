"""A confined child: it knows no secret, takes no more than it may, and nothing of it outlives it or its worker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from farm.domain.errors import BuildError
from farm.domain.jobs import FailureClass, JobState
from tests.fake_toolchain.harness import ROOT, FarmOfTest, farm_of_test, is_alive, settings_in, wait_until
from tests.integration.test_worker_child_process import Attempt
from workers.confinement import (
    Limits,
    Watch,
    disk_of_folder,
    guarded,
    make_private,
    make_read_only,
    memory_here,
    memory_of_tree,
    own_file,
    remove_folder,
    state_of,
)
from workers.guardian import descendants
from workers.interpreters import Interpreter, probe_interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """Makes attempts."""
    return lambda *script: Attempt(tmp_path, *script)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """This interpreter, which has ONNX Runtime."""
    return probe_interpreter(Path(sys.executable), tmp_path_factory.mktemp("probe"))


@pytest.fixture
def place(tmp_path: Path, own: Interpreter) -> Iterator[FarmOfTest]:
    """A farm of one host."""
    with farm_of_test(tmp_path, own) as made:
        yield made


def told(attempt: Attempt) -> dict[str, Any]:
    """What the child said that it was given."""
    found: dict[str, Any] = json.loads((attempt.fake.control / "told").read_text())
    return found


# What it is given.

_SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "1",
    "AWS_PROFILE": "2",
    "PGPASSWORD": "3",
    "GITHUB_TOKEN": "4",
    "FARM_DATABASE_URL": "postgresql://me:secret@db/farm",
    "FARM_SIGNING_KEY": "/etc/farm/signing.key",
    "NVIDIA_API_KEY": "5",
    "CUDA_TOKEN": "6",
    "SSH_AUTH_SOCK": "7",
    "KUBERNETES_SERVICE_HOST": "8",
    "LD_PRELOAD": "",
}


def test_a_child_inherits_what_a_toolchain_needs_and_nothing_else(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = {
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "LD_LIBRARY_PATH": "/opt/lib",
        "CUDA_CACHE_PATH": "/c",
        "OMP_NUM_THREADS": "2",
    }
    for name, value in {**_SECRETS, **needed}.items():
        monkeypatch.setenv(name, value)
    attempt = make("tell")
    assert attempt.run().failure is None
    environment = told(attempt)["environment"]
    assert not set(_SECRETS) & set(environment)
    assert {name: environment[name] for name in needed} == needed
    assert environment["PATH"] == os.environ["PATH"]
    for name, folder in {"HOME": "home", "TMPDIR": "tmp"}.items():
        assert environment[name] == str(attempt.folder / folder)
        assert (attempt.folder / folder).stat().st_mode & 0o777 == 0o700


def test_an_operator_lets_more_variables_through_by_their_names(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_CHILD_ENV", "VENDOR_LICENCE, FARM_DATABASE_URL")
    monkeypatch.setenv("VENDOR_LICENCE", "27000@host")
    monkeypatch.setenv("FARM_DATABASE_URL", "postgresql://me:secret@db/farm")
    attempt = make("tell")
    attempt.run()
    environment = told(attempt)["environment"]
    assert environment["VENDOR_LICENCE"] == "27000@host"
    assert not [name for name in environment if name.startswith("FARM_")]


def test_a_child_has_its_limits_before_its_first_line(make: Any) -> None:
    attempt = make("tell")
    attempt.start(limits=Limits(file_bytes=5 * MIB, cpu_s=77, open_files=99))
    attempt.end()
    limits = told(attempt)["limits"]
    assert limits["RLIMIT_CORE"] == [0, 0]
    assert limits["RLIMIT_FSIZE"] == [5 * MIB, 5 * MIB]
    assert limits["RLIMIT_NOFILE"] == [99, 99]
    assert limits["RLIMIT_CPU"][0] == 77


def test_a_segfault_leaves_no_core(make: Any) -> None:
    attempt = make("segfault")
    outcome = attempt.run()
    assert outcome.failure is not None
    assert "SIGSEGV" in outcome.failure.message
    assert not list(attempt.folder.rglob("core*"))


def test_a_guardian_confines_another_python_than_its_own() -> None:
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [*sorted(root.glob("versions/3.10.*/bin/python3.10")), shutil.which("python3.10")]
    python = next((path for path in found if path), None)
    if python is None:
        pytest.skip("no Python 3.10 on PATH or under PYENV_ROOT")
    program = "import resource, sys; print(sys.version_info[:2], resource.getrlimit(resource.RLIMIT_NOFILE))"
    command = guarded([str(python), "-c", program], Limits(open_files=99))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as guardian:
        assert guardian.stdout is not None
        said = guardian.stdout.read().decode()
    assert guardian.returncode == 0
    assert said == "(3, 10) (99, 99)\n"


# What it takes.


def test_a_child_that_eats_memory_is_stopped_and_told_how_much(make: Any) -> None:
    attempt = make("eat")
    attempt.start(limits=Limits(memory_bytes=300 * MIB))
    outcome = attempt.end()
    assert outcome.failure is not None
    assert (outcome.failure.failure_class, outcome.failure.code) == (
        FailureClass.TRANSIENT,
        "OutOfMemoryError",
    )
    assert "MiB of memory in phase build; they may have 300 MiB" in outcome.failure.message
    assert "FARM_CHILD_MEMORY" in outcome.failure.hint
    assert not outcome.failure.is_crash, "it is no crash, so it does not park the job"


def test_memory_counts_wherever_the_child_hides_it(make: Any) -> None:
    attempt = make("eat in a daemon")
    attempt.start(limits=Limits(memory_bytes=300 * MIB))
    outcome = attempt.end()
    assert outcome.failure is not None
    assert outcome.failure.code == "OutOfMemoryError"
    assert not is_alive(attempt.fake.grandchild())


def test_a_worker_hides_its_memory_and_environment_from_its_children() -> None:
    program = (
        "import ctypes\nfrom workers.confinement import hide_this_process\n"
        "libc = ctypes.CDLL(None)\nbefore = libc.prctl(3, 0, 0, 0, 0)\nhide_this_process()\n"
        "print(before, libc.prctl(3, 0, 0, 0, 0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "0"]


@pytest.mark.parametrize("is_listed", [True, False])
def test_every_descendant_is_found_with_and_without_the_kernels_lists(is_listed: bool) -> None:
    script = "import os, time\nfor _ in range(2): os.fork()\nprint('ready', flush=True)\ntime.sleep(1000)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(4):
            process.stdout.readline()
        known = {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
        assert len(known) == 3
        assert set(descendants(process.pid, is_listed=is_listed)) == known
        for pid in [*known, process.pid]:
            os.kill(pid, signal.SIGKILL)


def test_what_two_processes_share_is_counted_once(tmp_path: Path) -> None:
    script = (
        "import os, sys, time\nheld = b'\\1' * (200 << 20)\n"
        "for _ in range(3):\n    if os.fork() == 0: time.sleep(1000)\n"
        "print('ready', flush=True)\ntime.sleep(1000)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(descendants(process.pid)) == 3
        assert memory_of_tree(process.pid) > 700 * MIB
        assert 200 * MIB < memory_of_tree(process.pid, exact=True) < 300 * MIB
        assert Watch(process.pid, tmp_path, Limits(memory_bytes=500 * MIB)).look("build") is None
        for pid in [*descendants(process.pid), process.pid]:
            os.kill(pid, signal.SIGKILL)


def test_a_child_that_fills_the_disk_is_stopped_at_its_quota(make: Any) -> None:
    attempt = make("fill the disk")
    attempt.start(limits=Limits(scratch_bytes=50 * MIB))
    outcome = attempt.end()
    assert outcome.failure is not None
    assert (outcome.failure.failure_class, outcome.failure.code) == (FailureClass.REFUSED, "ScratchQuota")
    assert "it may have 50 MiB" in outcome.failure.message
    assert "FARM_SCRATCH_QUOTA" in outcome.failure.hint


def test_a_file_beyond_its_limit_is_not_written(make: Any) -> None:
    attempt = make("write a large file")
    attempt.start(limits=Limits(file_bytes=20 * MIB))
    outcome = attempt.end()
    assert outcome.result is not None
    assert "File too large" in outcome.result["failure"]["message"]
    assert (attempt.folder / "large").stat().st_size == 20 * MIB


def test_a_log_beyond_its_limit_ends_the_child_however_it_is_written(make: Any) -> None:
    attempt = make("flood")
    attempt.start(limits=Limits(file_bytes=4 * MIB), max_log_bytes=2 * MIB)
    outcome = attempt.end()
    assert outcome.failure or outcome.result["failure"]  # type: ignore[index]
    assert (attempt.folder / "log.txt").stat().st_size <= 4 * MIB + 200


def test_cpu_time_ends_a_child_that_nothing_else_ends(make: Any) -> None:
    attempt = make("spin")
    attempt.start(limits=Limits(cpu_s=2))
    outcome = attempt.end()
    assert outcome.failure is not None
    assert "SIGXCPU" in outcome.failure.message
    assert "FARM_CHILD_CPU_S" in outcome.failure.hint


def test_a_sparse_file_takes_what_it_has(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as stream:
        stream.truncate(1 << 34)
    (tmp_path / "full").write_bytes(b"\1" * MIB)
    assert MIB <= disk_of_folder(tmp_path) < 2 * MIB


def test_memory_here_is_no_more_than_the_host_has() -> None:
    assert 0 < memory_here() <= psutil.virtual_memory().total


# What is left of it.


@pytest.mark.parametrize("behaviour", ["fork", "daemon", "forgetful daemon"])
def test_what_a_child_started_is_gone_when_it_has_ended(make: Any, behaviour: str) -> None:
    attempt = make(behaviour)
    assert attempt.run().failure is None
    assert not is_alive(attempt.fake.grandchild())


def relatives(control: Path) -> list[int]:
    """Of the behaviour `family`, once all are there."""
    wait_until((control / "grown").exists)
    return [int(path.read_text()) for path in control.glob("relative-*")]


def test_a_whole_family_is_gone_at_the_deadline(make: Any) -> None:
    attempt = make("family")
    attempt.start()
    threading.Thread(target=lambda: relatives(attempt.fake.control)).start()
    outcome = attempt.end(should_stop=lambda: (attempt.fake.control / "grown").exists())
    assert outcome.was_stopped
    assert [pid for pid in relatives(attempt.fake.control) if is_alive(pid)] == []


def test_a_worker_that_is_killed_leaves_no_descendant(place: FarmOfTest) -> None:
    place.fake.does("family")
    with place.worker_process() as worker:
        place.submit()
        family = relatives(place.fake.control)
        below = [child.pid for child in psutil.Process(worker.pid).children(recursive=True)]
        assert set(family) <= set(below), "all of them are the worker's descendants, daemons too"
        worker.kill()
        wait_until(lambda: not [pid for pid in below if is_alive(pid)])


def test_a_child_whose_guardian_is_killed_dies_with_it(make: Any) -> None:
    attempt = make("kill the guardian")
    outcome = attempt.run()
    assert outcome.failure is not None
    assert "SIGKILL" in outcome.failure.message
    wait_until(lambda: not is_alive(attempt.fake.pid()))


def test_a_frozen_guardian_does_not_save_its_child(make: Any) -> None:
    attempt = make("hang")
    attempt.start()
    pid = attempt.fake.pid()
    os.kill(attempt.child.pid, signal.SIGSTOP)
    attempt.child.kill()
    wait_until(lambda: not is_alive(pid))


# The model, and what it leaves.


def test_a_build_can_not_write_its_model_and_sees_nobody_elses_folder(place: FarmOfTest) -> None:
    place.fake.does("look at the model")
    with place.worker():
        (job_id,) = place.submit()
        place.succeeded(job_id)
    assert (place.fake.control / "rights").read_text() == "444 555"
    assert place.scratch_of_attempts() == [], "what was read-only is removed as well"


def test_a_build_that_changed_its_model_files_nothing(place: FarmOfTest) -> None:
    place.fake.does("change the model")
    with place.worker():
        (job_id,) = place.submit()
        job = place.ended(job_id)
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert job.failure.failure_class is FailureClass.CORRUPT
    assert "changed the files of the model" in job.failure.message
    assert place.engines() == []


def test_memory_of_a_farms_child_is_bounded_by_its_settings(tmp_path: Path, own: Interpreter) -> None:
    settings = settings_in(tmp_path / "home", child_memory=300 * MIB)
    with farm_of_test(tmp_path, own, settings=settings) as place:
        place.fake.does("eat")
        with place.worker():
            (job_id,) = place.submit(max_attempts=1)
            job = place.ended(job_id)
    assert job.failure is not None
    assert job.failure.code == "OutOfMemoryError"


def test_any_change_of_a_models_files_is_seen(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "weights").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"a model")
    (folder / "weights" / "w").write_bytes(b"weights")
    make_read_only(folder)
    before = state_of(folder)
    assert state_of(folder) == before
    path = folder / "model.onnx"
    stat = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"A model")
    path.chmod(0o444)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert state_of(folder) != before, "a time that was set back does not hide it"
    remove_folder(folder)
    assert not folder.exists()


def test_a_link_or_a_pipe_is_not_taken_for_a_file_that_a_child_left(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "nothing"):
        with pytest.raises(BuildError, match="something else in its place"):
            own_file(tmp_path / name)
    assert own_file(tmp_path / "secret").read_text() == "secret"


def test_a_scratch_folder_is_its_users_alone(tmp_path: Path) -> None:
    make_private(tmp_path / "scratch" / "j-1.1")
    assert (tmp_path / "scratch" / "j-1.1").stat().st_mode & 0o777 == 0o700
