"""Which engine is handed out, and in which words none is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from farm.domain.calibration import Calibration
from farm.domain.errors import InvalidRequestError, NoEngineFitsError, NotFoundError
from farm.domain.targets import DeviceKind, DeviceType
from farm.services.fetch import FetchQuery, find_engine, host_device_types
from tests.behaviours.given import given_a_farm, given_a_finished_job, given_a_model
from tests.factories import (
    a_build_spec,
    a_device_type,
    a_digest,
    a_model,
    a_shape_range,
    a_target,
    a_toolchain,
    a_toolchain_id,
    a_worker,
    an_outcome,
)
from tests.fakes import InMemoryDatabase

if TYPE_CHECKING:
    from typing import Any

NEWER = a_toolchain_id(version="10.1.0")
HERE = FetchQuery("resnet", device_types=(a_device_type(),))


@pytest.fixture
def database() -> InMemoryDatabase:
    """With two releases of TensorRT and a model, of which nothing is built."""
    made = InMemoryDatabase()
    given_a_farm(made)
    with made.transaction() as transaction:
        transaction.fleet.register(a_worker(id="w-2", toolchains=(a_toolchain(version="10.1.0"),)))
    return made


def built(database: InMemoryDatabase, **changes: Any) -> int:
    """The number of an engine."""
    _, number = given_a_finished_job(database, a_build_spec(**changes))
    return number


def found(database: InMemoryDatabase, query: FetchQuery = HERE, **changes: Any) -> int:
    """The number of what is handed out."""
    with database.reading() as transaction:
        return find_engine(transaction, replace(query, **changes)).engine.id


def everything(database: InMemoryDatabase) -> list[int]:
    """The numbers of all that fit, the best first."""
    with database.reading() as transaction:
        best = find_engine(transaction, HERE)
    return [best.engine.id, *(other.id for other in best.others)]


def refused(database: InMemoryDatabase, **changes: Any) -> NoEngineFitsError:
    """Why nothing is handed out."""
    with pytest.raises(NoEngineFitsError) as caught:
        found(database, **changes)
    return caught.value


def test_of_several_that_fit_the_newest_toolchain_wins_then_the_newest_engine(
    database: InMemoryDatabase,
) -> None:
    newest = built(database, target=a_target(toolchain=NEWER))
    older = [built(database, salt="1"), built(database, salt="2")]
    assert found(database) == newest
    assert found(database, toolchain="tensorrt@8.6") == older[-1]


def test_of_several_that_fit_the_plainest_goes_first(database: InMemoryDatabase) -> None:
    """Each is newer than those that go before it."""
    unverified = an_outcome(
        engine="unverified",
        accuracy=None,
        measurements=(),
        samples=None,
        unverified_reason="no such GPU here",
    )
    changes: list[dict[str, Any]] = [
        {"salt": "", "profiles": ({"input": a_shape_range(1, 4, 4)},)},
        {"salt": "mine"},
        {"kept_layers": ("conv1",)},
        {"calibration": Calibration(samples=64), "precision": "fp16"},
        {"refit_of": a_digest("older plan").sha256},
    ]
    built_ones = [built(database, **each) for each in changes]
    _, last = given_a_finished_job(database, a_build_spec(salt="unverified"), outcome=unverified)
    assert everything(database) == [*built_ones, last]


def test_samples_go_before_random_ones_and_the_newest_before_older_ones(database: InMemoryDatabase) -> None:
    samples = Calibration(a_digest("samples").sha256)
    older, newer = (
        built(database, calibration=samples),
        built(database, calibration=replace(samples, batch=2)),
    )
    random = built(database, calibration=Calibration(samples=64))
    assert everything(database) == [newer, older, random]


def test_a_newer_toolchain_does_not_make_up_for_random_calibration(database: InMemoryDatabase) -> None:
    wanted = built(database)
    built(database, calibration=Calibration(samples=64), target=a_target(toolchain=NEWER))
    assert found(database) == wanted


def test_one_that_is_asked_for_by_its_number_is_handed_out_whatever_else_fits(
    database: InMemoryDatabase,
) -> None:
    built(database)
    tuned = built(database, kept_layers=("conv1",))
    int8 = built(database, precision="int8")
    assert found(database, engine_id=tuned) == tuned
    # Several precisions fit, and the number says which.
    assert found(database, engine_id=int8) == int8


def test_one_that_is_asked_for_must_fit(database: InMemoryDatabase) -> None:
    number = built(database)
    error = refused(database, engine_id=number, device_types=(a_device_type(DeviceKind.CPU),))
    assert error.message.startswith(f"engine {number} of resnet@1 does not fit ")
    assert "(differs in device)" in error.message
    assert f"`farm fetch resnet@1 --engine {number} --gpu nvidia-h200` fetches it" in error.hint
    assert "differs in precision" in refused(database, engine_id=number, precision="fp32").message
    newer = refused(database, engine_id=number, toolchains=(NEWER,))
    assert "(differs in toolchain)" in newer.message
    assert f"--engine {number} --toolchain tensorrt@8.6.0`" in newer.hint


def test_one_that_is_asked_for_must_be_of_the_model(database: InMemoryDatabase) -> None:
    number = built(database)
    given_a_model(database, a_model("retrained"), "resnet")
    with pytest.raises(
        InvalidRequestError, match=f"engine {number} is none of resnet@2: it is of resnet@1"
    ) as caught:
        found(database, engine_id=number)
    assert f"farm fetch resnet@1 --engine {number}" in caught.value.hint


def test_one_that_is_asked_for_and_is_retired_is_told(database: InMemoryDatabase) -> None:
    number = built(database)
    built(database, salt="another")
    engines = database._tables.engines
    engines[number] = replace(engines[number], retired_at=database.clock)
    assert "was retired on 2026-01-01" in refused(database, engine_id=number).message


def test_a_host_gets_what_its_own_release_loads(database: InMemoryDatabase) -> None:
    built(database, target=a_target(toolchain=NEWER))
    older = built(database)
    assert found(database, toolchains=(a_toolchain_id(),)) == older


def test_a_precision_is_named_where_several_fit(database: InMemoryDatabase) -> None:
    built(database)
    wanted = built(database, precision="fp32")
    with pytest.raises(InvalidRequestError, match="fp16, fp32") as caught:
        found(database)
    assert "--precision fp16" in caught.value.hint
    assert found(database, precision="fp32") == wanted


def test_what_differs_is_said_the_nearest_first(database: InMemoryDatabase) -> None:
    built(database)
    error = refused(database, precision="int8", toolchain="tensorrt@10.1")
    assert "differs in toolchain and precision" in error.message
    assert "fits nvidia-h200 · tensorrt@10.1 · int8" in error.message
    cpu = refused(database, device_types=(a_device_type(DeviceKind.CPU),), toolchain="tensorrt@8.6")
    assert "(differs in device)" in cpu.message


def test_no_more_than_five_are_named(database: InMemoryDatabase) -> None:
    for precision in ("fp16", "fp32", "tf32", "bf16", "int8", "fp8"):
        built(database, precision=precision)
    assert "and 1 more" in refused(database, precision="int4").message


def test_a_gpu_that_nobody_knows_is_met_with_one_that_is_known(database: InMemoryDatabase) -> None:
    built(database)
    assert "unknown GPU 'h2000'" in refused(database, gpu="h2000").message
    assert "nvidia-h200" in refused(database, gpu="nvidia-h2000").hint


def test_where_nothing_is_built_yet_the_way_to_it_is_named(database: InMemoryDatabase) -> None:
    error = refused(database)
    assert error.message == "no engine of resnet@1 is built yet"
    assert "farm submit" in error.hint


def test_a_new_version_without_engines_points_to_the_one_that_has_some(database: InMemoryDatabase) -> None:
    built(database)
    given_a_model(database, a_model("retrained"), "resnet")
    assert refused(database).hint == "Version 1 has 1 engine(s): ask for resnet@1."
    assert found(database, model="resnet@1")


def test_a_retired_engine_is_not_handed_out_and_its_end_is_told(database: InMemoryDatabase) -> None:
    number = built(database)
    engines = database._tables.engines
    engines[number] = replace(engines[number], retired_at=database.clock)
    error = refused(database)
    assert "was retired on 2026-01-01" in error.message
    assert "farm pin" in error.hint


def test_a_model_that_nobody_filed_is_not_found(database: InMemoryDatabase) -> None:
    with pytest.raises(NotFoundError, match="resmet"):
        found(database, model="resmet")


def test_a_host_runs_its_own_type_first_then_its_capability_then_its_cpu() -> None:
    gpu, cpu = a_device_type(), a_device_type(DeviceKind.CPU)
    assert host_device_types([cpu, gpu]) == (gpu, DeviceType.any_of("9.0"), cpu)
