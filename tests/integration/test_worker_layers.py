"""What a toolchain leaves of an engine's layers is kept as it is; layers are timed where somebody asks for it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farm.domain.inspector_json import parse_inspector
from farm.domain.jobs import FailureClass, JobState
from farm.domain.layer_times import profiles_from_json
from tests.fake_toolchain.harness import QUICK, FarmOfTest, farm_of_test
from tests.unit.layers.inspector_texts import detailed_8
from workers.interpreters import probe_interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Stands for Nsight Systems: runs the command, leaves a report, and says something where the child's events go.
NSYS = """#!/bin/sh
[ "$1" = profile ] || exit 9
shift
while :; do
    case "$1" in
        --output=*) report="${1#--output=}"; shift ;;
        --*) shift ;;
        *) break ;;
    esac
done
echo "Generating '$report.qdstrm'"
"$@"
code=$?
echo "report" > "$report.nsys-rep"
exit $code
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[FarmOfTest]:
    """A farm of one host."""
    with farm_of_test(tmp_path, probe_interpreter(Path(sys.executable), tmp_path / "probe")) as made:
        yield made


def test_what_an_engine_tells_of_its_layers_is_kept_byte_by_byte(place: FarmOfTest) -> None:
    # Control characters, and no JSON that everybody reads.
    raw = detailed_8().replace("\\u001e", "\x1e").replace("]}", ",]}", 1)
    (place.fake.control / "layers").write_text(raw)
    with place.worker():
        (job_id,) = place.submit()
        place.succeeded(job_id)
    digest = place.engine(job_id).layer_information
    assert digest is not None
    kept = b"".join(place.farm.store.chunks(digest)).decode()
    assert kept == raw
    assert len(parse_inspector(kept).layers) == 3
    with place.farm.database.reading() as transaction:
        assert digest.sha256 in transaction.garbage.referenced()
        assert transaction.garbage.kinds()[digest.sha256] == "layers"


def test_an_engine_that_tells_nothing_is_built_all_the_same(place: FarmOfTest) -> None:
    with place.worker():
        (job_id,) = place.submit()
        place.succeeded(job_id)
    assert place.engine(job_id).layer_information is None


def test_a_link_in_the_place_of_layers_is_not_followed(place: FarmOfTest, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the worker")
    (place.fake.control / "layers").symlink_to(secret)
    with place.worker():
        (job_id,) = place.submit()
        job = place.ended(job_id)
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert "layers.json" in job.failure.message


def test_layers_are_timed_after_the_rest_and_the_times_are_kept(place: FarmOfTest) -> None:
    with place.worker():
        (job_id,) = place.submit(benchmark=replace(QUICK, profile=True))
        place.succeeded(job_id)
    (run,) = place.engine(job_id).runs
    assert run.profile is not None
    (profile,) = profiles_from_json(json.loads(b"".join(place.farm.store.chunks(run.profile))))
    assert (profile.batch, profile.profiler, len(profile.iterations)) == (1, "ONNX Runtime", 100)
    assert [layer.type for layer in profile.layers()] == ["MatMul"]
    assert run.taints == ()
    with place.farm.database.reading() as transaction:
        assert run.profile.sha256 in transaction.garbage.referenced()


def test_nobody_is_profiled_who_did_not_ask_for_it(place: FarmOfTest) -> None:
    with place.worker():
        (job_id,) = place.submit()
        place.succeeded(job_id)
    assert place.engine(job_id).runs[0].profile is None


def test_nsight_systems_runs_the_child_and_its_report_is_kept(
    place: FarmOfTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "nsys"
    program.parent.mkdir()
    program.write_text(NSYS)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    with place.worker():
        (job_id,) = place.submit(benchmark=replace(QUICK, nsys=True))
        place.succeeded(job_id)
    (run,) = place.engine(job_id).runs
    with place.farm.database.reading() as transaction:
        digest = transaction.engines.artifact(run.nsys_sha256)
        assert digest.sha256 in transaction.garbage.referenced()
    assert b"".join(place.farm.store.chunks(digest)) == b"report\n"
    assert run.taints == ("Nsight Systems looked on",)


def test_where_nsight_systems_is_not_installed_the_job_is_refused(
    place: FarmOfTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with place.worker():
        (job_id,) = place.submit(benchmark=replace(QUICK, nsys=True))
        job = place.ended(job_id)
    assert job.failure is not None
    assert job.failure.failure_class is FailureClass.REFUSED
    assert "Nsight Systems is not installed" in job.failure.message
    assert job.attempts == 1
