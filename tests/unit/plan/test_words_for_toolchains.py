"""Which toolchains a word means, and who serves them now."""

from __future__ import annotations

import pytest

from farm.domain.errors import InvalidSpecError, UnsupportedTargetError
from tests.factories import a_toolchain, a_worker
from tests.fakes import InMemoryDatabase
from tests.unit.plan.fleets import H200, TRT8, cells, plan, slugs


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
