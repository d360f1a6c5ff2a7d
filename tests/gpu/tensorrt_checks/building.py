"""Builds and loads engines with the toolchain under test."""

# ruff: noqa: PT017 - run where pytest is not installed

from __future__ import annotations

import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tensorrt_checks.models import conv_net

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def toolchain() -> Any:
    """The toolchain under test."""
    from workers.toolchains import load_toolchain

    return load_toolchain("tensorrt")


def options(**more: Any) -> dict[str, Any]:
    """Builder options for a host without cuBLAS and cuDNN, quick to build with."""
    known = {option.name: option for option in toolchain().describe().options}
    sources = known["tactic_sources"].choices
    chosen: dict[str, Any] = {
        "tactic_sources": [f"-{name}" for name in ("CUBLAS", "CUBLAS_LT", "CUDNN") if name in sources]
    }
    if "builder_optimization_level" in known:
        chosen["builder_optimization_level"] = 1
    chosen.update(more)
    return {name: value for name, value in chosen.items() if value not in ([], None)}


def spans(*shapes: tuple[int, ...], name: str = "x") -> Any:
    """One optimization profile of one input: min, opt and max."""
    from farm.domain.shapes import ShapeRange

    return {name: ShapeRange(*shapes)}


def batches(low: int, mid: int, high: int) -> Any:
    """A profile of `conv_net` for these batch sizes."""
    return spans((low, 3, 32, 32), (mid, 3, 32, 32), (high, 3, 32, 32))


def build(model: Path, engine: Path, profiles: Any = (), precision: str = "fp32", **more: Any) -> Any:
    """Builds, and gives back the toolchain's answer."""
    from workers.toolchains.toolchain import BuildInput

    given = {"builder_config": options(), **more}
    request = BuildInput(model, engine, precision, profiles=tuple(profiles), **given)
    return toolchain().build(request, lambda fraction, message: None)


def conv_engine(scratch: Path, precision: str = "fp32") -> Path:
    """The engine of `conv_net` for batches 1 to 32, built once for all checks."""
    engine = scratch / f"conv-{precision}.plan"
    if not engine.exists():
        fresh = engine.with_suffix(".new")
        build(conv_net(scratch / "conv.onnx"), fresh, [batches(1, 8, 32)], precision)
        fresh.replace(engine)
    return engine


@contextmanager
def loaded(engine: Path) -> Iterator[Any]:
    """A live engine, closed at the end."""
    live = toolchain().load(engine)
    try:
        yield live
    finally:
        live.close()


def refused(kind: str, *fragments: str) -> Any:
    """Expects an error of the farm by the name of its class, with fragments in its text."""

    @contextmanager
    def expecting() -> Iterator[list[str]]:
        said: list[str] = []
        try:
            yield said
        except Exception as error:  # noqa: BLE001 - whatever comes is compared with what was expected
            text = f"{error} | {getattr(error, 'hint', '')}"
            said.append(f"{type(error).__name__}: {text}")
            if type(error).__name__ != kind:
                traceback.print_exc()
            assert type(error).__name__ == kind, f"expected {kind}, got {said[0]}"
            for fragment in fragments:
                assert fragment in text, f"{fragment!r} is not in {text!r}"
            return
        raise AssertionError(f"expected {kind}, nothing was raised")

    return expecting()


def worst(got: Any, wanted: Any) -> float:
    """The greatest absolute difference, shapes being equal."""
    import numpy as np

    assert got.shape == wanted.shape, f"shape {got.shape}, not {wanted.shape}"
    return float(np.abs(np.asarray(got, dtype=np.float64) - wanted).max()) if got.size else 0.0
