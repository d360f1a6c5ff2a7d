"""Which devices a word means."""

from __future__ import annotations

import pytest

from farm.domain.errors import UnsupportedTargetError
from farm.services.targets import match_devices
from tests.fakes import InMemoryDatabase
from tests.unit.plan.fleets import H200, plan, slugs


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
