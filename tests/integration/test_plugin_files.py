"""Plugin libraries of a job: in the attempt's folder as the key names them, and kept while a key names them."""

from __future__ import annotations

import stat
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from farm.domain.errors import CorruptArtifactError, NotFoundError
from farm.domain.work import JobRequest
from farm.services.plan import BuildRequest, plan_builds
from farm.services.submit import SubmitOrder, keep_model, submit_plan
from farm.storage.onnx_files import read_model
from tests.factories import a_build_spec, a_digest
from tests.fake_toolchain.harness import FarmOfTest, farm_of_test
from tests.fake_toolchain.toolchain import DESCRIPTION
from workers.interpreters import Interpreter
from workers.plugin_files import place_plugins, plugin_paths_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Iterator[FarmOfTest]:
    """A farm whose fake toolchain takes plugins; nothing runs in it."""
    with farm_of_test(tmp_path, Interpreter(tmp_path / "python", "3.11", (), {})) as made:
        yield made


def kept(place: FarmOfTest, folder: Path, name: str) -> str:
    """A library as `farm submit --plugin` keeps it; its digest."""
    path = folder / name
    path.write_bytes(b"\x7fELF" + name.encode())
    digest = place.farm.store.put_file(path)
    with place.farm.database.transaction() as transaction:
        transaction.engines.add_artifact(digest, "plugin")
    return digest.sha256


def a_job(*plugins: str) -> Any:
    return SimpleNamespace(spec=a_build_spec(plugins=plugins))


def placed(place: FarmOfTest, job: Any, folder: Path) -> list[str]:
    """Fetches, and gives what was said meanwhile."""
    said: list[str] = []

    def insist(action: Callable[[], Any]) -> Any:
        return action()

    place_plugins(place.farm, job, folder, said.append, insist)
    return said


def test_libraries_are_fetched_in_their_order_and_read_only(place: FarmOfTest, tmp_path: Path) -> None:
    first, second = (kept(place, tmp_path, name) for name in ("one.so", "two.so"))
    folder = tmp_path / "attempt"
    folder.mkdir()
    job = a_job(second, first)
    assert placed(place, job, folder) == ["fetching a plugin library"] * 2
    paths = plugin_paths_in(folder, job)
    assert [path.read_bytes() for path in paths] == [b"\x7fELFtwo.so", b"\x7fELFone.so"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o444}
    assert [path.name for path in paths] == [f"plugin-{sha256[:12]}.so" for sha256 in (second, first)]


def test_a_job_without_plugins_has_no_folder_for_them(place: FarmOfTest, tmp_path: Path) -> None:
    assert placed(place, a_job(), tmp_path) == []
    assert not (tmp_path / "plugins").exists()


def test_a_library_that_is_lost_or_altered_is_not_loaded(place: FarmOfTest, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        placed(place, a_job(a_digest("nobody filed it").sha256), tmp_path)
    sha256 = kept(place, tmp_path, "one.so")
    (stored,) = (path for path in (tmp_path / "home").rglob("*") if path.is_file() and sha256 in path.name)
    stored.chmod(0o644)
    stored.write_bytes(b"\x7fELFsix.so")
    with pytest.raises(CorruptArtifactError):
        placed(place, a_job(sha256), tmp_path)


def test_a_library_that_a_job_names_is_no_garbage(place: FarmOfTest, tmp_path: Path) -> None:
    named, other = kept(place, tmp_path, "named.so"), kept(place, tmp_path, "other.so")
    model = read_model(place.model)
    keep_model(place.farm.store, model, place.model.parent, lambda _line: None)
    with place.farm.database.transaction() as transaction:
        transaction.fleet.describe(place.offer.device_types, [replace(DESCRIPTION, takes_plugins=True)])
    with place.farm.database.reading() as transaction:
        plan = plan_builds(transaction, model, BuildRequest(toolchains=("fake",), plugins=(named,)))
    submit_plan(place.farm.database, model, plan, SubmitOrder("small", "me", {}, JobRequest()))
    with place.farm.database.reading() as transaction:
        referenced = transaction.garbage.referenced()
    assert named in referenced
    assert other not in referenced
