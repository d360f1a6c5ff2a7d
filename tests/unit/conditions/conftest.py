"""A GPU among others, and NVML that knows them."""

from __future__ import annotations

import pytest

from tests.fake_nvml import FakeGpu, FakeNvml


@pytest.fixture
def gpu() -> FakeGpu:
    """The one that is watched."""
    return FakeGpu("NVIDIA H200", "GPU-1")


@pytest.fixture
def nvml(gpu: FakeGpu) -> FakeNvml:
    """It and another one."""
    return FakeNvml([FakeGpu("NVIDIA H200", "GPU-0"), gpu])
