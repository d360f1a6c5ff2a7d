"""Loads an engine with what it needs: its plugin libraries, and the scales of its int8 inputs and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from farm.domain.io_formats import IO_SCALES

if TYPE_CHECKING:
    from workers.child.requests import AttemptRequest
    from workers.toolchains.toolchain import (
        BuildOutput,
        LoadedEngine,
        LoadsPlugins,
        TakesScales,
        Toolchain,
    )


def load_engine(toolchain: Toolchain, request: AttemptRequest, built: BuildOutput | None) -> LoadedEngine:
    """The engine of a request, live.

    Args:
        toolchain: that loads it.
        request: where it is, and what it needs.
        built: what its build left behind; none for a filed engine.

    Raises:
        InvalidSpecError: a plugin library does not load.
        BuildError: the file is not an engine of this version for this device.
        DeviceUnavailableError: there is no such device here.
    """
    if hasattr(toolchain, "load_plugins"):
        cast("LoadsPlugins", toolchain).load_plugins(request.plugin_paths, request.engine_path)
    engine = toolchain.load(request.engine_path)
    scales = (built.details if built else {}).get(IO_SCALES) or request.io_scales
    if scales and hasattr(engine, "use_scales"):
        cast("TakesScales", engine).use_scales(scales)
    return engine
