# ruff: noqa: N802 - the names are NVML's
"""GPUs of one host that are served side by side get cores of their own, those near them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import pytest

from farm.domain.targets import Device, DeviceKind
from tests.factories import a_device, a_device_type
from tests.fake_nvml import FakeNvmlError
from workers.cores import share_cores


@dataclass
class FakeAffinities:
    """What NVML says is near each GPU; nothing for one that it does not know."""

    near: dict[str, list[int]] = field(default_factory=dict)
    NVMLError: type[Exception] = FakeNvmlError

    def nvmlInit(self) -> None:
        """There."""

    def nvmlShutdown(self) -> None:
        """There."""

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid

    def nvmlDeviceGetCpuAffinity(self, handle: str, words: int) -> list[int]:
        if handle not in self.near:
            raise FakeNvmlError(3)
        mask = sum(1 << core for core in self.near[handle])
        return [mask >> (64 * word) & (2**64 - 1) for word in range(max(words, 2))]


@pytest.fixture(autouse=True)
def _host_of_eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))


def gpus(*uuids: str) -> list[Device]:
    return [a_device(uuid=uuid) for uuid in uuids]


def test_where_nvml_says_nothing_the_cores_are_shared_evenly() -> None:
    assert share_cores(gpus("a", "b"), FakeAffinities()) == {"a": [0, 1, 2, 3], "b": [4, 5, 6, 7]}


def test_each_gets_of_the_cores_that_are_near_it() -> None:
    near = {"a": [4, 5, 6, 7], "b": [0, 1, 2, 3], "c": [4, 5, 6, 7], "d": [0, 1, 2, 3]}
    shares = share_cores(gpus(*near), FakeAffinities(near))
    assert shares == {"a": [4, 5], "b": [0, 1], "c": [6, 7], "d": [2, 3]}


def test_no_core_is_given_that_this_process_may_not_use() -> None:
    near = {"a": [6, 7, 70], "b": [0, 1, 64]}
    assert share_cores(gpus("a", "b"), FakeAffinities(near)) == {"a": [6, 7], "b": [0, 1]}


def test_one_gpu_and_a_cpu_use_all_cores() -> None:
    cpu = a_device(a_device_type(DeviceKind.CPU), uuid="CPU-0")
    assert share_cores([*gpus("a"), cpu], FakeAffinities()) == {}


def test_more_gpus_than_cores_use_all_cores() -> None:
    assert share_cores(gpus(*"abcdefghi"), FakeAffinities()) == {}
