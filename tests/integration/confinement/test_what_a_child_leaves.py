"""A child can not write its model, and what it leaves is taken for what it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import BuildError
from farm.domain.jobs import FailureClass, JobState
from tests.fake_toolchain.harness import FarmOfTest, farm_of_test, settings_in
from workers.confinement import make_private, make_read_only, own_file, remove_folder, state_of

if TYPE_CHECKING:
    from pathlib import Path

    from workers.interpreters import Interpreter

MIB = 1 << 20


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
