"""Planning: from a user's words to the matrix of cells, checked before anything is written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farm.domain.errors import InvalidSpecError, UnsupportedTargetError
from farm.domain.shapes import ShapeRange
from farm.domain.targets import DeviceKind
from farm.domain.toolchains import BuilderOption
from farm.services.plan import BuildRequest, Plan, plan_builds
from farm.services.targets import match_devices
from tests.factories import (
    OPTIONS,
    a_cpu_toolchain,
    a_device_type,
    a_model,
    a_shape_range,
    a_tensor,
    a_toolchain,
    a_worker,
    an_l4,
)
from tests.fakes import InMemoryDatabase

if TYPE_CHECKING:
    from farm.domain.models import Model

H200, L4, CPU = a_device_type(), an_l4(), a_device_type(DeviceKind.CPU)
ANY_SM89 = a_device_type(DeviceKind.COMPUTE_CAPABILITY)
TRT8, TRT10 = a_toolchain(), a_toolchain(version="10.13.3")
TRT9 = a_toolchain(version="9.3.0", options=(*OPTIONS, BuilderOption("only_in_nine", "int", default=0)))
RTX = a_toolchain(
    name="tensorrt-rtx",
    version="1.7.1",
    serves=DeviceKind.COMPUTE_CAPABILITY,
    compute_capabilities=("8.9",),
    options=(),
)
ORT = a_cpu_toolchain()


@pytest.fixture
def fleet() -> InMemoryDatabase:
    """An H200 and an L4 with three TensorRTs, any GPU of 8.9 with TensorRT-RTX, a CPU with ONNX Runtime."""
    database = InMemoryDatabase()
    with database.transaction() as transaction:
        transaction.fleet.describe([H200, L4, ANY_SM89], [TRT8, TRT10, TRT9, RTX])
        transaction.fleet.describe([CPU], [ORT])
    return database


def plan(database: InMemoryDatabase, model: Model | None = None, **wishes: Any) -> Plan:
    with database.reading() as transaction:
        return plan_builds(transaction, model or a_model(), BuildRequest(**{"batches": (1, 8), **wishes}))


def cells(found: Plan) -> list[str]:
    return [f"{cell.slug} · {cell.spec.target.toolchain} · {cell.spec.precision}" for cell in found.cells]


def slugs(found: Plan) -> list[str]:
    return list(dict.fromkeys(cell.slug for cell in found.cells))


# Which devices a word means.


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("nvidia-h200", ["nvidia-h200"]),
        ("NVIDIA-H200", ["nvidia-h200"]),
        ("h200", ["nvidia-h200"]),
        ("l4", ["nvidia-l4"]),
        ("sm89", ["any-sm89"]),
        ("nvidia", ["nvidia-h200", "nvidia-l4"]),
        ("gpu", ["nvidia-h200", "nvidia-l4"]),
        ("cpu", ["cpu-amd-epyc-9334-16c-avx512"]),
        ("epyc-9334", ["cpu-amd-epyc-9334-16c-avx512"]),
        ("all", ["any-sm89", "cpu-amd-epyc-9334-16c-avx512", "nvidia-h200", "nvidia-l4"]),
    ],
)
def test_a_word_means_a_slug_a_part_of_it_a_kind_or_all(
    fleet: InMemoryDatabase, word: str, meant: list[str]
) -> None:
    assert sorted(slugs(plan(fleet, gpus=(word,)))) == meant


@pytest.mark.parametrize("word", ["h20", "200", "nvidi", "", "-", "h200-"])
def test_half_a_part_of_a_slug_means_nothing(word: str) -> None:
    assert match_devices({"nvidia-h200": H200}, word) == []


def test_without_a_word_every_known_device_is_built_for(fleet: InMemoryDatabase) -> None:
    assert set(slugs(plan(fleet))) == {"nvidia-h200", "nvidia-l4", "any-sm89", "cpu-amd-epyc-9334-16c-avx512"}


def test_cells_come_in_the_order_asked_for_and_once(fleet: InMemoryDatabase) -> None:
    assert slugs(plan(fleet, gpus=("l4", "h200", "gpu", "nvidia-l4"))) == ["nvidia-l4", "nvidia-h200"]


def test_an_unknown_gpu_suggests_the_nearest(fleet: InMemoryDatabase) -> None:
    with pytest.raises(UnsupportedTargetError, match="unknown GPU 'h20'") as caught:
        plan(fleet, gpus=("h20",))
    assert "nvidia-h200" in caught.value.hint


def test_an_empty_farm_says_how_to_begin() -> None:
    with pytest.raises(UnsupportedTargetError, match="no device is known") as caught:
        plan(InMemoryDatabase())
    assert "farm up" in caught.value.hint


# Which toolchains.


def test_each_device_gets_the_newest_version_of_every_toolchain_that_serves_it(
    fleet: InMemoryDatabase,
) -> None:
    assert sorted(cells(plan(fleet))) == [
        "any-sm89 · tensorrt-rtx 1.7.1 · fp32",
        "cpu-amd-epyc-9334-16c-avx512 · onnxruntime 1.23.2 · fp32",
        "nvidia-h200 · tensorrt 10.13.3 · fp32",
        "nvidia-l4 · tensorrt 10.13.3 · fp32",
    ]


@pytest.mark.parametrize(
    ("words", "versions"),
    [
        (("tensorrt",), ["10.13.3"]),
        (("tensorrt@8",), ["8.6.0"]),
        (("tensorrt@8.6.0", "tensorrt@9"), ["8.6.0", "9.3.0"]),
        (("tensorrt@9", "tensorrt@9.3", "tensorrt"), ["9.3.0", "10.13.3"]),
        (("all",), ["8.6.0", "9.3.0", "10.13.3"]),
    ],
)
def test_a_word_means_the_newest_version_that_it_covers(
    fleet: InMemoryDatabase, words: tuple[str, ...], versions: list[str]
) -> None:
    found = plan(fleet, gpus=("h200",), toolchains=words)
    assert [cell.spec.target.toolchain.version for cell in found.cells] == versions


def test_of_equal_versions_the_choice_is_always_the_same() -> None:
    variants = [a_toolchain(variant=variant) for variant in ("cu11", "cu12", "cu13")]
    for order in (variants, variants[::-1]):
        database = InMemoryDatabase()
        with database.transaction() as transaction:
            transaction.fleet.describe([H200], order)
        for words in ((), ("tensorrt",), ("tensorrt@8.6",)):
            (cell,) = plan(database, toolchains=words).cells
            assert cell.spec.target.toolchain.variant == "cu13"
        everything = plan(database, toolchains=("all",)).cells
        assert [cell.spec.target.toolchain.variant for cell in everything] == ["cu11", "cu12", "cu13"]


@pytest.mark.parametrize("gpus", [(), ("all",)])
def test_all_devices_means_all_that_the_toolchain_serves(
    fleet: InMemoryDatabase, gpus: tuple[str, ...]
) -> None:
    assert set(slugs(plan(fleet, gpus=gpus, toolchains=("tensorrt",)))) == {"nvidia-h200", "nvidia-l4"}


def test_a_device_that_is_named_must_be_served(fleet: InMemoryDatabase) -> None:
    with pytest.raises(
        UnsupportedTargetError, match="no toolchain onnxruntime has served nvidia-h200"
    ) as caught:
        plan(fleet, gpus=("h200",), toolchains=("onnxruntime",))
    assert "tensorrt@8.6.0" in caught.value.hint


@pytest.mark.parametrize("word", ["tensorr", "tensorrt@7", "onnx-runtime"])
def test_an_unknown_toolchain_suggests_the_nearest(fleet: InMemoryDatabase, word: str) -> None:
    with pytest.raises(UnsupportedTargetError, match="no toolchain") as caught:
        plan(fleet, toolchains=(word,))
    assert "tensorrt@" in caught.value.hint or "onnxruntime@" in caught.value.hint


def test_what_is_not_a_toolchain_at_all_is_refused(fleet: InMemoryDatabase) -> None:
    with pytest.raises(InvalidSpecError, match="not a toolchain"):
        plan(fleet, toolchains=("TensorRT 8.6",))


def test_a_cell_says_whether_somebody_could_build_it_now(fleet: InMemoryDatabase) -> None:
    with fleet.transaction() as transaction:
        transaction.fleet.register(a_worker(toolchains=(TRT8,), device_types=(H200,)))
    found = plan(fleet, gpus=("gpu",), toolchains=("tensorrt@8",))
    assert {cell.slug: cell.has_live_worker for cell in found.cells} == {
        "nvidia-h200": True,
        "nvidia-l4": False,
    }
    fleet.advance(60)
    assert not any(
        cell.has_live_worker for cell in plan(fleet, gpus=("gpu",), toolchains=("tensorrt@8",)).cells
    )


# Precisions.


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    gpus=st.lists(st.sampled_from(["h200", "l4"]), min_size=1, unique=True),
    toolchains=st.lists(
        st.sampled_from(["tensorrt@8", "tensorrt@9", "tensorrt@10"]), min_size=1, unique=True
    ),
    precisions=st.lists(st.sampled_from(["fp32", "tf32", "fp16", "bf16", "int8"]), min_size=1, unique=True),
)
def test_there_is_a_cell_for_every_target_and_precision(
    fleet: InMemoryDatabase, gpus: list[str], toolchains: list[str], precisions: list[str]
) -> None:
    found = plan(fleet, gpus=tuple(gpus), toolchains=tuple(toolchains), precisions=tuple(precisions))
    assert len(found.cells) == len(gpus) * len(toolchains) * len(precisions)
    assert len({cell.spec.digest for cell in found.cells}) == len(found.cells)
    assert found.refused == ()


def test_a_precision_that_is_asked_for_twice_is_one_cell(fleet: InMemoryDatabase) -> None:
    assert len(plan(fleet, gpus=("h200",), precisions=("fp16", "fp16")).cells) == 1


def test_an_unknown_precision_suggests_the_nearest(fleet: InMemoryDatabase) -> None:
    with pytest.raises(InvalidSpecError, match="unknown precision 'float16'") as caught:
        plan(fleet, precisions=("float16",))
    assert "fp16" in caught.value.hint


def test_a_cell_that_can_not_be_built_refuses_everything(fleet: InMemoryDatabase) -> None:
    with pytest.raises(UnsupportedTargetError, match="2 of 4 cells can not be built") as caught:
        plan(fleet, gpus=("gpu",), precisions=("fp16", "fp8"))
    assert "nvidia-l4 · tensorrt 10.13.3 · fp8: this version has no fp8" in caught.value.message
    assert "--skip-unsupported" in caught.value.hint


def test_cells_that_can_not_be_built_are_left_out_on_demand(fleet: InMemoryDatabase) -> None:
    found = plan(fleet, gpus=("h200",), precisions=("fp16", "fp8"), skip_unsupported=True)
    assert cells(found) == ["nvidia-h200 · tensorrt 10.13.3 · fp16"]
    assert found.refused == (("nvidia-h200 · tensorrt 10.13.3 · fp8", "this version has no fp8"),)


def test_leaving_every_cell_out_is_refused(fleet: InMemoryDatabase) -> None:
    with pytest.raises(UnsupportedTargetError, match="2 of 2"):
        plan(fleet, gpus=("gpu",), precisions=("fp8",), skip_unsupported=True)


# Builder options.


def options_of(found: Plan) -> dict[str, dict[str, Any]]:
    return {str(cell.spec.target.toolchain): dict(cell.spec.builder_config) for cell in found.cells}


def test_an_option_goes_to_every_toolchain_in_its_canonical_form(fleet: InMemoryDatabase) -> None:
    found = plan(fleet, gpus=("h200",), toolchains=("all",), options={"builder_optimization_level": "5"})
    assert set(map(str, options_of(found).values())) == {"{'builder_optimization_level': 5}"}
    assert found.notes == ()


def test_a_scoped_option_goes_to_its_toolchain_alone(fleet: InMemoryDatabase) -> None:
    found = plan(
        fleet, gpus=("h200",), toolchains=("all",), options={"tensorrt@8:builder_optimization_level": "5"}
    )
    assert options_of(found) == {
        "tensorrt 8.6.0": {"builder_optimization_level": 5},
        "tensorrt 9.3.0": {},
        "tensorrt 10.13.3": {},
    }


@pytest.mark.parametrize("is_reversed", [False, True])
def test_the_exacter_scope_overrules_whatever_the_order(fleet: InMemoryDatabase, is_reversed: bool) -> None:
    wishes = [
        ("builder_optimization_level", "1"),
        ("tensorrt:builder_optimization_level", "4"),
        ("tensorrt@8.6:builder_optimization_level", "5"),
    ]
    options = dict(wishes[::-1] if is_reversed else wishes)
    found = plan(fleet, gpus=("h200",), toolchains=("tensorrt@8", "tensorrt@9"), options=options)
    assert options_of(found) == {
        "tensorrt 8.6.0": {"builder_optimization_level": 5},
        "tensorrt 9.3.0": {"builder_optimization_level": 4},
    }


def test_an_option_that_one_of_several_does_not_know_is_a_note(fleet: InMemoryDatabase) -> None:
    found = plan(fleet, gpus=("h200",), toolchains=("all",), options={"only_in_nine": 1})
    assert options_of(found)["tensorrt 9.3.0"] == {"only_in_nine": 1}
    assert options_of(found)["tensorrt 8.6.0"] == {}
    (note,) = found.notes
    assert "only_in_nine does not exist in tensorrt 10.13.3, tensorrt 8.6.0" in note


def test_an_option_that_none_knows_is_refused_with_the_nearest(fleet: InMemoryDatabase) -> None:
    with pytest.raises(InvalidSpecError, match="no builder option 'optimization_level'") as caught:
        plan(fleet, options={"optimization_level": 3})
    assert "builder_optimization_level" in caught.value.hint


def test_a_scoped_option_that_its_toolchain_does_not_know_is_refused(fleet: InMemoryDatabase) -> None:
    with pytest.raises(InvalidSpecError, match=r"no builder option 'only_in_nine' in tensorrt 8\.6\.0"):
        plan(fleet, gpus=("h200",), toolchains=("all",), options={"tensorrt@8:only_in_nine": 1})


def test_an_option_for_a_toolchain_that_builds_nothing_here_is_refused(fleet: InMemoryDatabase) -> None:
    with pytest.raises(InvalidSpecError, match="builds no cell here") as caught:
        plan(fleet, gpus=("h200",), options={"tensorrrt:builder_optimization_level": 3})
    assert "tensorrt" in caught.value.hint


def test_a_value_that_does_not_fit_is_refused(fleet: InMemoryDatabase) -> None:
    with pytest.raises(InvalidSpecError, match="can not be '9'"):
        plan(fleet, gpus=("h200",), options={"builder_optimization_level": "9"})


# Shapes and batches.


def profile_of(found: Plan) -> Any:
    (profile,) = {str(cell.spec.profiles): cell.spec.profiles for cell in found.cells}.values()
    return profile


def test_batches_make_the_profile_and_are_measured_as_asked(fleet: InMemoryDatabase) -> None:
    found = plan(fleet, batches=(16, 1, 8, 1))
    assert profile_of(found) == ({"input": a_shape_range(1, 8, 16)},)
    assert found.batches == (16, 1, 8)


def test_shapes_make_the_profile_and_its_bounds_are_measured(fleet: InMemoryDatabase) -> None:
    shapes = {
        f"{name}_shapes": {"input": (batch, 3, 8, 8)} for name, batch in [("min", 2), ("opt", 4), ("max", 8)]
    }
    found = plan(fleet, batches=(), **shapes)
    assert profile_of(found) == ({"input": a_shape_range(2, 4, 8)},)
    assert found.batches == (2, 4, 8)


def test_batches_beside_shapes_are_measured_within_them(fleet: InMemoryDatabase) -> None:
    shapes = {"min_shapes": {"input": (1, 3, 8, 8)}, "max_shapes": {"input": (8, 3, 8, 8)}}
    assert plan(fleet, batches=(3,), **shapes).batches == (3,)
    with pytest.raises(InvalidSpecError, match="batch 9 is outside the profile"):
        plan(fleet, batches=(9,), **shapes)


def test_a_static_model_has_no_profile_and_its_own_batch(fleet: InMemoryDatabase) -> None:
    found = plan(fleet, a_model(inputs=(a_tensor("input", (4, 3, 8, 8)),)), batches=())
    assert profile_of(found) == ()
    assert found.batches == (4,)


def test_a_static_model_whose_inputs_differ_in_their_first_size_can_be_planned(
    fleet: InMemoryDatabase,
) -> None:
    unet = a_model(
        inputs=(a_tensor("sample", (2, 4, 64, 64)), a_tensor("step", (1,)), a_tensor("text", (2, 77)))
    )
    assert plan(fleet, unet, batches=()).batches == (2,)


def test_a_model_of_scalars_runs_at_batch_one(fleet: InMemoryDatabase) -> None:
    assert plan(fleet, a_model(inputs=(a_tensor("step", ()),)), batches=()).batches == (1,)


def test_a_batch_that_a_static_model_does_not_have_is_refused(fleet: InMemoryDatabase) -> None:
    with pytest.raises(InvalidSpecError, match="fixed at 4"):
        plan(fleet, a_model(inputs=(a_tensor("input", (4, 3, 8, 8)),)), batches=(8,))


def test_a_batch_that_stands_still_beside_a_dynamic_sequence_is_refused(fleet: InMemoryDatabase) -> None:
    model = a_model(inputs=(a_tensor("ids", (1, -1)),))
    with pytest.raises(InvalidSpecError, match="fixed at 1"):
        plan(fleet, model, batches=(8,), opt_shapes={"ids": (1, 128)})
    assert profile_of(plan(fleet, model, batches=(), opt_shapes={"ids": (1, 128)})) == (
        {"ids": ShapeRange((1, 128), (1, 128), (1, 128))},
    )


def test_a_dynamic_model_needs_shapes_or_batches(fleet: InMemoryDatabase) -> None:
    with pytest.raises(InvalidSpecError, match="needs shapes"):
        plan(fleet, batches=())


def test_a_batch_below_one_is_refused(fleet: InMemoryDatabase) -> None:
    with pytest.raises(InvalidSpecError, match="start at 1"):
        plan(fleet, batches=(0, 1))


def test_the_salt_goes_into_every_cell(fleet: InMemoryDatabase) -> None:
    assert {cell.spec.salt for cell in plan(fleet, salt="again").cells} == {"again"}


def test_the_model_goes_into_every_cell(fleet: InMemoryDatabase) -> None:
    model = a_model("other")
    assert {cell.spec.model_sha256 for cell in plan(fleet, model).cells} == {model.digest.sha256}


def test_a_plan_writes_nothing(fleet: InMemoryDatabase) -> None:
    plan(fleet)
    with fleet.reading() as transaction:
        assert transaction.jobs.jobs() == []
        assert transaction.models.names() == []


def test_planning_again_comes_to_the_same_keys(fleet: InMemoryDatabase) -> None:
    first, second = plan(fleet), plan(fleet, replace(a_model(), producer="another"))
    assert [cell.spec.digest for cell in first.cells] == [cell.spec.digest for cell in second.cells]
