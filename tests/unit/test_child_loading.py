"""An engine is loaded with what it needs: plugin libraries first, and the scales of its int8 tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from workers.child.loading import load_engine
from workers.child.requests import AttemptRequest
from workers.toolchains.toolchain import BuildOutput

LIBRARIES = (Path("plugins/one.so"), Path("plugins/two.so"))


class Engine:
    """Remembers the scales that it was given."""

    scales: Any = None

    def use_scales(self, scales: Any) -> None:
        self.scales = scales


class Plain:
    """A toolchain without plugins, whose engines have no scales."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.calls: list[Any] = []

    def load(self, engine_path: Path) -> Any:
        self.calls.append(("load", engine_path))
        return self.engine


class WithPlugins(Plain):
    """A toolchain with plugins."""

    def load_plugins(self, paths: Any, used_by: Path) -> None:
        self.calls.append(("plugins", paths, used_by))


def request(**more: Any) -> AttemptRequest:
    return AttemptRequest("fake", "1", Path("engine"), **more)


def test_plugins_are_loaded_before_the_engine() -> None:
    toolchain: Any = WithPlugins(Engine())
    load_engine(toolchain, request(plugin_paths=LIBRARIES), None)
    assert toolchain.calls == [("plugins", LIBRARIES, Path("engine")), ("load", Path("engine"))]


def test_a_toolchain_without_plugins_and_scales_loads_as_ever() -> None:
    toolchain: Any = Plain(object())
    assert load_engine(toolchain, request(io_scales={"x": 0.5}), None) is toolchain.engine


@pytest.mark.parametrize(
    ("built", "filed", "scales"),
    [
        (None, {}, None),
        (BuildOutput(), {}, None),
        (BuildOutput(details={"io_scales": {"x": 0.25}}), {}, {"x": 0.25}),
        (None, {"x": 0.5}, {"x": 0.5}),
        (BuildOutput(details={"io_scales": {"x": 0.25}}), {"x": 0.5}, {"x": 0.25}),
    ],
)
def test_the_scales_are_those_of_the_build_else_of_the_filed_engine(
    built: BuildOutput | None, filed: dict[str, float], scales: Any
) -> None:
    toolchain: Any = WithPlugins(Engine())
    assert load_engine(toolchain, request(io_scales=filed), built).scales == scales  # type: ignore[attr-defined]
