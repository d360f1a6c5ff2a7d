"""The PyTorch model of a job: in the attempt's folder where it is built, and kept while a key names it."""

from __future__ import annotations

import stat
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cli.baseline_options import keep_program
from farm.domain.digests import digest_of_file
from farm.domain.errors import CorruptArtifactError
from farm.domain.jobs import JobKind
from farm.domain.model_formats import ONNX, PT2
from farm.domain.work import JobRequest
from farm.services.plan import BuildRequest, plan_builds
from farm.services.submit import SubmitOrder, keep_model, submit_plan
from farm.storage.onnx_files import read_model
from tests.factories import a_build_spec, a_job_request
from tests.fake_toolchain.harness import FarmOfTest, farm_of_test
from tests.fake_toolchain.toolchain import DESCRIPTION
from workers.interpreters import Interpreter
from workers.program_files import place_program, program_path_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Iterator[FarmOfTest]:
    """A farm in which nothing runs."""
    with farm_of_test(tmp_path, Interpreter(tmp_path / "python", "3.11", (), {})) as made:
        yield made


def kept(place: FarmOfTest, folder: Path, content: bytes) -> str:
    """A program as `farm submit --baseline` keeps it; its digest."""
    path = folder / "kept.pt2"
    path.write_bytes(content)
    keep_program(place.farm, path)
    return digest_of_file(path).sha256


def a_job(program: str, kind: JobKind = JobKind.BUILD) -> Any:
    return SimpleNamespace(spec=a_build_spec(program=program), request=a_job_request(kind=kind))


def placed(place: FarmOfTest, job: Any, folder: Path) -> list[str]:
    """Fetches, and gives what was said meanwhile."""
    said: list[str] = []

    def insist(action: Callable[[], Any]) -> Any:
        return action()

    folder.mkdir(exist_ok=True)
    place_program(place.farm, job, folder, said.append, insist)
    return said


def test_a_build_has_it_read_only(place: FarmOfTest, tmp_path: Path) -> None:
    job = a_job(kept(place, tmp_path, b"a program"))
    assert placed(place, job, tmp_path / "attempt") == ["fetching the PyTorch model"]
    path = program_path_in(tmp_path / "attempt", job)
    assert path is not None
    assert path.read_bytes() == b"a program"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


@pytest.mark.parametrize(("has_program", "kind"), [(False, JobKind.BUILD), (True, JobKind.BENCHMARK)])
def test_whoever_builds_nothing_from_it_fetches_nothing(
    place: FarmOfTest, tmp_path: Path, has_program: bool, kind: JobKind
) -> None:
    program = kept(place, tmp_path, b"a program") if has_program else ""
    assert placed(place, a_job(program, kind), tmp_path / "attempt") == []
    assert list((tmp_path / "attempt").iterdir()) == []


def test_one_that_was_altered_is_not_run(place: FarmOfTest, tmp_path: Path) -> None:
    sha256 = kept(place, tmp_path, b"a program")
    (stored,) = (path for path in (tmp_path / "home").rglob("*") if path.is_file() and sha256 in path.name)
    stored.chmod(0o644)
    stored.write_bytes(b"a prigram")
    with pytest.raises(CorruptArtifactError):
        placed(place, a_job(sha256), tmp_path / "attempt")


def test_one_that_a_cell_names_is_no_garbage(place: FarmOfTest, tmp_path: Path) -> None:
    named, other = kept(place, tmp_path, b"named"), kept(place, tmp_path, b"other")
    model = read_model(place.model)
    keep_model(place.farm.store, model, place.model.parent, lambda _line: None)
    with place.farm.database.transaction() as transaction:
        runs_programs = replace(DESCRIPTION, model_formats=(ONNX, PT2))
        transaction.fleet.describe(place.offer.device_types, [runs_programs])
    request = BuildRequest(toolchains=("fake",), program=named, program_format=PT2)
    with place.farm.database.reading() as transaction:
        plan = plan_builds(transaction, model, request)
    submit_plan(place.farm.database, model, plan, SubmitOrder("small", "me", {}, JobRequest()))
    with place.farm.database.reading() as transaction:
        referenced = transaction.garbage.referenced()
    assert named in referenced
    assert other not in referenced
