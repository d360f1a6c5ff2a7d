"""A child under supervision: however it ends, its end has a class, and nothing of it is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from farm.domain.errors import ChildCrashedError, DeviceUnavailableError
from farm.domain.jobs import FailureClass, Phase
from tests.chaos.disks import fill, no_mounts, small_disk
from tests.fake_toolchain.attempt import Attempt
from tests.fake_toolchain.harness import ROOT, is_alive, wait_until
from workers.child.requests import result_from_json
from workers.child_process import MAX_LOG_BYTES, ChildEvent
from workers.device_lock import DeviceLock

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """Makes attempts."""
    return lambda *script: Attempt(tmp_path, *script)


def test_a_success_leaves_a_result_and_every_phase_was_told(make: Any) -> None:
    attempt = make("build")
    outcome = attempt.run()
    assert outcome.failure is None
    assert outcome.result is not None
    result = result_from_json(outcome.result)
    assert result.failure is None
    assert result.build is not None
    assert result.build.precision_note == "as it came"
    assert (attempt.folder / "engine").read_bytes() == b"a model"
    assert [event.phase for event in attempt.events][-1] is Phase.BUILD
    assert {event.phase for event in attempt.events} == {Phase.PREPARE, Phase.BUILD}


@pytest.mark.parametrize(
    ("behaviour", "failure_class", "code", "message"),
    [
        ("refuse", FailureClass.REFUSED, "BuildError", "node 'conv1': not on a Sunday"),
        ("wrong", FailureClass.REQUEST, "InvalidSpecError", "the option is wrong"),
        ("transient", FailureClass.TRANSIENT, "OutOfMemoryError", "the device ran out of memory"),
        ("memory", FailureClass.TRANSIENT, "OutOfMemoryError", "the host ran out of memory"),
    ],
)
def test_a_refusal_keeps_its_class_and_its_words(
    make: Any, behaviour: str, failure_class: FailureClass, code: str, message: str
) -> None:
    outcome = make(behaviour).run()
    assert outcome.result is not None
    failure = result_from_json(outcome.result).failure
    assert failure is not None
    assert (failure.failure_class, failure.code, failure.message) == (failure_class, code, message)
    assert failure.phase == "build"
    assert not failure.is_crash


def test_an_unexpected_exception_is_one_line_with_the_trace_in_the_log(make: Any) -> None:
    attempt = make("bug")
    outcome = attempt.run()
    assert outcome.result is not None
    failure = result_from_json(outcome.result).failure
    assert failure is not None
    assert failure.message.startswith("ZeroDivisionError at toolchain.py:")
    assert failure.message.endswith(": first line")
    assert failure.failure_class is FailureClass.REFUSED
    assert "Traceback (most recent call last)" in attempt.log
    assert "second line" in attempt.log


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("segfault", "was killed by SIGSEGV in phase build"),
        ("killed", "was killed by SIGKILL in phase build"),
        ("exit 0", "exited with status 0 and left no result in phase build"),
        ("exit 3", "exited with status 3 and left no result in phase build"),
        ("sys.exit", "exited with status 1 and left no result in phase build"),
    ],
)
def test_a_child_that_dies_is_a_crash_that_names_how(make: Any, behaviour: str, words: str) -> None:
    outcome = make(behaviour).run()
    assert outcome.result is None
    assert outcome.failure is not None
    assert words in outcome.failure.message
    assert outcome.failure.is_crash
    assert outcome.failure.failure_class is FailureClass.TRANSIENT


@pytest.mark.skipif(bool(no_mounts()), reason=no_mounts() or "mounts can be made")
def test_a_child_that_dies_on_a_full_disk_is_no_crash_of_its_job(make: Any) -> None:
    attempt = make("wait")
    with small_disk(attempt.folder):
        (attempt.folder / "model.onnx").write_bytes(b"a model")
        attempt.start()
        child = attempt.fake.pid()
        fill(attempt.folder)
        os.kill(child, signal.SIGBUS)
        outcome = attempt.end()
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.is_crash) == ("DiskFull", False)
    assert outcome.failure.failure_class is FailureClass.TRANSIENT


def test_a_child_that_is_killed_from_outside_is_a_crash_that_suspects_the_kernel(make: Any) -> None:
    attempt = make("hang")
    attempt.start()
    threading.Thread(target=lambda: os.kill(attempt.fake.pid(), signal.SIGKILL)).start()
    outcome = attempt.end()
    assert outcome.failure is not None
    assert "SIGKILL" in outcome.failure.message
    assert "want of memory" in outcome.failure.hint


@pytest.mark.parametrize("behaviour", ["hang", "hang in C"])
def test_a_child_that_hangs_ends_at_its_deadline_whatever_it_ignores(make: Any, behaviour: str) -> None:
    attempt = make(behaviour)
    outcome = attempt.run(deadline_s=1.0)
    assert outcome.failure is not None
    assert outcome.failure.is_timeout
    assert outcome.failure.code == "DeadlineExceededError"
    assert "stopped after 1 s" in outcome.failure.message


def test_a_child_is_gone_as_soon_as_it_is_to_stop(make: Any) -> None:
    attempt = make("hang")
    outcome = attempt.run(should_stop=lambda: bool(attempt.fake.pids()))
    assert outcome.was_stopped
    assert outcome.failure is None


@pytest.mark.parametrize("behaviour", ["fork", "daemon"])
def test_what_a_child_started_is_gone_with_it(make: Any, behaviour: str) -> None:
    attempt = make(behaviour)
    outcome = attempt.run()
    assert outcome.result is not None
    wait_until(lambda: not is_alive(attempt.fake.grandchild()))


def test_what_a_child_says_lands_in_the_log_and_does_not_garble_its_events(make: Any) -> None:
    attempt = make("say")
    attempt.run()
    for words in ("from print", "from descriptor 1", "from C", "to stderr", "forged"):
        assert words in attempt.log
    assert all(event.phase in (Phase.PREPARE, Phase.BUILD) for event in attempt.events)


def test_a_child_that_writes_without_end_is_stopped_and_the_beginning_of_its_log_kept(make: Any) -> None:
    attempt = make("flood")
    attempt.start(max_log_bytes=1 << 20)
    outcome = attempt.end()
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.failure_class) == ("RunawayLog", FailureClass.REFUSED)
    assert "more than 1 MiB" in outcome.failure.message
    assert (attempt.folder / "log.txt").stat().st_size < (1 << 20) + 200
    assert attempt.log.startswith("xxx")
    assert attempt.log.endswith("[farm] the log is cut here, after 1 MiB\n")


def test_a_hundred_megabytes_of_log_are_cut_at_the_usual_limit(make: Any) -> None:
    attempt = make("flood and build")
    attempt.run()
    size = (attempt.folder / "log.txt").stat().st_size
    assert MAX_LOG_BYTES < size < MAX_LOG_BYTES + 200


def test_an_interpreter_that_is_not_there_is_a_failure_of_its_own(make: Any, tmp_path: Path) -> None:
    attempt = make("build")
    with pytest.raises(ChildCrashedError, match="can not be started: No such file"):
        attempt.start(python=tmp_path / "nowhere" / "python")
    program = tmp_path / "text"
    program.write_text("no program")
    with pytest.raises(ChildCrashedError, match="can not be started: Permission denied"):
        attempt.start(python=program)


def test_a_listener_that_hangs_does_not_keep_the_child_alive_beyond_its_deadline(make: Any) -> None:
    attempt = make("hang")
    attempt.start()
    free = threading.Event()

    def listen(_events: Sequence[ChildEvent]) -> None:
        free.wait(60)

    def watch() -> None:
        wait_until(lambda: not is_alive(attempt.child.pid))
        free.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    outcome = attempt.child.supervise(deadline_s=1.0, should_stop=lambda: False, on_tick=listen)
    watcher.join()
    assert outcome.failure is not None
    assert outcome.failure.is_timeout


def test_a_listener_that_fails_ends_the_child_and_is_heard_of(make: Any) -> None:
    attempt = make("hang")
    attempt.start()

    def listen(_events: Sequence[ChildEvent]) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        attempt.child.supervise(deadline_s=60, should_stop=lambda: False, on_tick=listen)
    assert not is_alive(attempt.child.pid)


def test_the_device_stays_locked_until_the_child_is_dead(make: Any, tmp_path: Path) -> None:
    attempt = make("hang")
    lock = DeviceLock("CPU-0", folder=tmp_path / "locks")
    lock.acquire()
    attempt.start(pass_fds=(lock.fileno(),))
    attempt.fake.pid()
    os.close(lock.fileno())  # as the death of the supervisor would
    other = DeviceLock("CPU-0", folder=tmp_path / "locks")
    with pytest.raises(DeviceUnavailableError):
        other.acquire()
    attempt.child.kill()
    other.acquire()
    other.release()


_SUPERVISOR = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.fake_toolchain.attempt import Attempt
attempt = Attempt(Path(sys.argv[1]), "hang")
attempt.start()
if sys.argv[2] == "at once":
    print(attempt.child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
attempt.fake.pid()
print(attempt.child.pid, flush=True)
attempt.end()
"""


@pytest.mark.parametrize("when", ["at once", "later"])
def test_a_child_dies_with_its_supervisor(tmp_path: Path, when: str) -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", _SUPERVISOR.format(root=str(ROOT)), str(tmp_path), when],
        stdout=subprocess.PIPE,
        text=True,
    )
    with supervisor:
        assert supervisor.stdout is not None
        pid = int(supervisor.stdout.readline())
        if when == "later":
            assert is_alive(pid)
        supervisor.kill()
    wait_until(lambda: not is_alive(pid))


def test_children_leave_no_descriptors_threads_or_processes_in_the_supervisor(make: Any) -> None:
    attempt = make("build")
    attempt.run()
    here = psutil.Process()
    before = (here.num_fds(), threading.active_count())
    for _ in range(3):
        attempt.run()
    assert (here.num_fds(), threading.active_count()) == before
    assert not [c for c in here.children(recursive=True) if "interpreter.py" in " ".join(c.cmdline())]


def test_a_child_knows_nothing_of_the_farms_settings(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_DATABASE_URL", "postgresql://me:secret@db/farm")
    attempt = make("hang")
    attempt.start()
    pid = attempt.fake.pid()
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    attempt.child.kill()
    assert b"FARM_DATABASE_URL" not in environment
    assert b"PYTHONPATH" in environment


def test_a_request_that_makes_no_sense_is_an_answer_and_not_a_crash(tmp_path: Path) -> None:
    request, result = tmp_path / "request.json", tmp_path / "result.json"
    for document in ({"operation": "dance"}, {"operation": "attempt"}):
        request.write_text(json.dumps(document))
        done = subprocess.run(
            [sys.executable, "-m", "workers.child", str(request), str(result)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0
        failure = json.loads(result.read_text())["failure"]
        assert failure["failure_class"] == "refused"
