"""Baselines get a cell each on the devices that engines are built for, and never come by themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from farm.domain.baselines import parse_baselines
from farm.domain.errors import InvalidSpecError, UnsupportedTargetError
from farm.domain.model_formats import PT2, TORCHSCRIPT
from farm.domain.targets import DeviceKind
from farm.domain.toolchains import BuilderOption
from farm.services.baselines import engine_options, with_baselines
from farm.services.plan import BuildRequest, Plan, plan_builds
from tests.factories import a_cpu_toolchain, a_device_type, a_model, a_toolchain, an_l4
from tests.fakes import InMemoryDatabase
from tests.unit.plan.fleets import cells

PROGRAM = "7" * 64
H200, L4, CPU = a_device_type(), an_l4(), a_device_type(DeviceKind.CPU)
ANY_SM89 = a_device_type(DeviceKind.COMPUTE_CAPABILITY)
DONE = dict.fromkeys(("fp32", "tf32", "fp16", "bf16"), "")
TORCH = a_toolchain(
    name="torch", version="2.13.0", variant="cu130", precisions=DONE, options=(), model_formats=(PT2,)
)
COMPILE = replace(
    TORCH,
    id=replace(TORCH.id, name="torch-compile"),
    options=(BuilderOption("mode", "choice", default="DEFAULT", choices=("DEFAULT", "MAX-AUTOTUNE")),),
)
SCRIPT = replace(TORCH, id=replace(TORCH.id, name="torchscript"), model_formats=(PT2, TORCHSCRIPT))
RTX = a_toolchain(
    name="tensorrt-rtx", version="1.7.1", serves=DeviceKind.COMPUTE_CAPABILITY, compute_capabilities=("8.9",)
)


@pytest.fixture
def fleet() -> InMemoryDatabase:
    """An H200 with TensorRT and PyTorch, an L4 without PyTorch, a CPU, and GPUs of 8.9 that nobody has."""
    database = InMemoryDatabase()
    with database.transaction() as transaction:
        transaction.fleet.describe([L4, ANY_SM89], [a_toolchain(), RTX])
        transaction.fleet.describe([CPU], [a_cpu_toolchain()])
        transaction.fleet.describe([H200], [a_toolchain(), TORCH, COMPILE, SCRIPT])
    return database


def planned(database: InMemoryDatabase, *words: str, **wishes: Any) -> Plan:
    given = {"batches": (1, 8), "gpus": ("h200",), "program": PROGRAM, "program_format": PT2, **wishes}
    request = BuildRequest(**given)
    with database.reading() as transaction:
        engines = replace(request, options=engine_options(request.options), program="", program_format="")
        plan = plan_builds(transaction, a_model(), engines)
        return with_baselines(transaction, a_model(), request, plan, parse_baselines(words))


def test_a_submission_without_them_has_none(fleet: InMemoryDatabase) -> None:
    assert cells(planned(fleet)) == ["nvidia-h200 · tensorrt 8.6.0 · fp32"]
    assert all("torch" not in cell for cell in cells(planned(fleet, toolchains=("all",))))


def test_each_has_a_cell_beside_the_engines_with_their_model_shapes_and_the_program(
    fleet: InMemoryDatabase,
) -> None:
    found = planned(fleet, "torch", "torch-amp", precisions=("fp16",))
    assert cells(found) == [
        "nvidia-h200 · tensorrt 8.6.0 · fp16",
        "nvidia-h200 · torch 2.13.0 · fp32",
        "nvidia-h200 · torch 2.13.0 · fp16",
    ]
    engine, *baselines = [cell.spec for cell in found.cells]
    assert [spec.program for spec in (engine, *baselines)] == ["", PROGRAM, PROGRAM]
    assert all(
        (spec.model_sha256, spec.profiles) == (engine.model_sha256, engine.profiles) for spec in baselines
    )


def test_onnx_runtime_of_cpus_runs_on_the_farms_cpus_where_engines_are_for_gpus(
    fleet: InMemoryDatabase,
) -> None:
    assert "cpu-amd-epyc-9334-16c-avx512 · onnxruntime 1.23.2 · fp32" in cells(planned(fleet, "ort-cpu"))


def test_what_is_among_the_engines_already_is_not_planned_twice(fleet: InMemoryDatabase) -> None:
    assert len(cells(planned(fleet, "ort-cpu", gpus=("cpu",)))) == 1


def test_options_with_its_name_are_a_baselines_own(fleet: InMemoryDatabase) -> None:
    options = {"builder_optimization_level": 5, "torch-compile:mode": "max-autotune"}
    found = planned(fleet, "torch-compile", "torch", options=options)
    assert [dict(cell.spec.builder_config) for cell in found.cells] == [
        {"builder_optimization_level": 5},
        {"mode": "MAX-AUTOTUNE"},
        {},
    ]


def test_an_option_that_a_baseline_lacks_is_refused(fleet: InMemoryDatabase) -> None:
    with pytest.raises(InvalidSpecError, match="no builder option 'moed' in torch-compile"):
        planned(fleet, "torch-compile", options={"torch-compile:moed": "max-autotune"})


def test_what_engines_are_given_beyond_the_model_is_left_to_them(fleet: InMemoryDatabase) -> None:
    found = planned(fleet, "torch", precisions=("fp16",), kept_layers=("conv",), builds=3)
    assert [spec.spec.kept_layers for spec in found.cells] == [("conv",), ()]


def test_a_device_without_an_interpreter_for_it_is_refused_with_what_to_do(fleet: InMemoryDatabase) -> None:
    with pytest.raises(UnsupportedTargetError) as caught:
        planned(fleet, "torch", gpus=("h200", "l4"))
    assert "nvidia-l4 · torch: no torch has served it yet" in caught.value.message
    assert "--toolchain-python PYTHON, an interpreter that has torch" in caught.value.message
    assert "nothing was queued" in caught.value.message


def test_the_same_is_left_out_on_request_or_where_nobody_named_the_device(fleet: InMemoryDatabase) -> None:
    found = planned(fleet, "torch", gpus=("h200", "l4"), skip_unsupported=True)
    assert [cell for cell, _ in found.refused] == ["nvidia-l4 · torch"]
    assert "nvidia-h200 · torch 2.13.0 · fp32" in cells(found)
    by_itself = planned(fleet, "torch", gpus=())
    assert "nvidia-l4 · torch" in [cell for cell, _ in by_itself.refused]


def test_one_that_no_device_has_is_refused_though_nobody_named_a_device(fleet: InMemoryDatabase) -> None:
    with pytest.raises(UnsupportedTargetError, match="no onnxruntime-cuda has served it yet"):
        planned(fleet, "ort-cuda", gpus=())


@pytest.mark.parametrize(("word", "gpu"), [("torch", "sm89"), ("ort-cuda", "cpu")])
def test_engines_ahead_of_time_have_no_device_for_a_baseline(
    fleet: InMemoryDatabase, word: str, gpu: str
) -> None:
    with pytest.raises(UnsupportedTargetError, match=f"{word}: nothing is built for a device that runs it"):
        planned(fleet, word, gpus=(gpu,))


def test_a_precision_that_the_device_lacks_is_refused_by_it(fleet: InMemoryDatabase) -> None:
    with fleet.transaction() as transaction:
        reason = "a CPU has no TF32; nearest: fp32"
        on_cpu = replace(TORCH, serves=DeviceKind.CPU, precisions={**DONE, "tf32": reason})
        transaction.fleet.describe([CPU], [replace(on_cpu, id=replace(TORCH.id, variant="cpu"))])
    with pytest.raises(UnsupportedTargetError, match="a CPU has no TF32"):
        planned(fleet, "torch-tf32", gpus=("cpu",))


def test_torchscript_is_taken_by_what_runs_torchscript_alone(fleet: InMemoryDatabase) -> None:
    found = planned(fleet, "torchscript", program_format=TORCHSCRIPT)
    assert cells(found)[-1] == "nvidia-h200 · torchscript 2.13.0 · fp32"
    with pytest.raises(UnsupportedTargetError, match=r"torch 2.13.0 takes a PyTorch program \(.pt2\)"):
        planned(fleet, "torch", program_format=TORCHSCRIPT)


def test_a_model_without_a_program_is_refused_by_pytorch(fleet: InMemoryDatabase) -> None:
    with pytest.raises(UnsupportedTargetError, match="not an ONNX model"):
        planned(fleet, "torch", program="", program_format="")
