"""The runtime that engines are loaded with."""

from __future__ import annotations

from types import SimpleNamespace

from tests.unit.trt.surface import log_for, surface
from workers.toolchains.cuda_engine import create_runtime


def test_version_compatible_engines_may_bring_their_lean_runtime() -> None:
    trt = surface("8.6.0")
    trt.Runtime = lambda _logger: SimpleNamespace(engine_host_code_allowed=False)
    assert create_runtime(trt, log_for(trt)).engine_host_code_allowed is True


def test_releases_without_version_compatible_engines_are_not_asked() -> None:
    trt = surface("8.5.3.1")
    trt.Runtime = lambda _logger: SimpleNamespace()
    assert not hasattr(create_runtime(trt, log_for(trt)), "engine_host_code_allowed")
