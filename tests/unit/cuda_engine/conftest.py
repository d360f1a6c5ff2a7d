"""A driver that counts what is left allocated."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from tests.unit.cuda_engine.fake_gpu import FakeDriver
from workers.toolchains import cuda_driver

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDriver]:
    fake = FakeDriver()
    package = ModuleType("pycuda")
    package.driver = fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", fake)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    monkeypatch.setattr(cuda_driver, "require_device", lambda: None)
    yield fake
    assert fake.live == 0, "buffers were left behind"
    assert fake.contexts == 0, "a context was left on the stack"
