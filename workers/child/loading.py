"""Loads what a request names: a toolchain of just this version, and an engine with its plugins and its scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from farm.domain.errors import ConflictError
from farm.domain.io_formats import IO_SCALES
from workers.toolchains import load_toolchain

if TYPE_CHECKING:
    from workers.child.requests import AttemptRequest
    from workers.toolchains.toolchain import (
        BuildOutput,
        LoadedEngine,
        LoadsPlugins,
        TakesScales,
        Toolchain,
    )


def load_exactly(name: str, version: str) -> Toolchain:
    """A toolchain of this interpreter.

    Raises:
        ConflictError: it is here in another version.
    """
    toolchain = load_toolchain(name)
    found = toolchain.describe().id
    if found.version != version:
        raise ConflictError(
            f"this interpreter has {found}, but the job wants {name} {version}",
            hint="The environment was changed under the worker: restart the worker.",
        )
    return toolchain


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
