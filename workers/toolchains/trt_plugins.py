"""Plugin libraries, loaded before a model is parsed or an engine deserialised; the module `trt` is an argument.

A library registers its plugins in one of two ways: while it is loaded (`REGISTER_TENSORRT_PLUGIN`), or when
TensorRT asks it for them (it exports `getCreators` or `getPluginCreators`).
"""

from __future__ import annotations

import ctypes
import mmap
from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidSpecError
from workers.toolchains.trt_log import spec_refusal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from workers.toolchains.trt_log import TrtLog

_ASKED = ("getCreators", "getPluginCreators")
#: What the names of NVIDIA's own plugins end with.
_STANDARD = b"_TRT"
#: Libraries of this process: none is ever unloaded, since engines hold on to their code.
_LOADED: dict[str, Any] = {}


def load_plugins(trt: Any, log: TrtLog, paths: Sequence[Path], used_by: Path) -> None:
    """Loads plugin libraries, in their order; one that is loaded is left as it is.

    NVIDIA's own plugins come first, where there are libraries, or the file at `used_by` names any.

    Raises:
        InvalidSpecError: one does not load, or TensorRT does not take its plugins; has the loader's words.
    """
    if paths or names_standard_plugins(used_by):
        _start_standard_plugins(trt, log)
    for path in paths:
        place = str(path.resolve())
        if place not in _LOADED:
            _LOADED[place] = _load(trt, log, path)


def _start_standard_plugins(trt: Any, log: TrtLog) -> None:
    """Registers NVIDIA's own plugins, where the release has them beside it."""
    start = getattr(trt, "init_libnvinfer_plugins", None)
    if start is not None and not start(log.logger, ""):
        log.write("W", "NVIDIA's own plugins could not be registered")


def names_standard_plugins(path: Path) -> bool:
    """Whether a model or an engine may use NVIDIA's own plugins: their names are in it as they are."""
    with path.open("rb") as file:
        if not file.seek(0, 2):
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(_STANDARD) >= 0


def _load(trt: Any, log: TrtLog, path: Path) -> Any:
    log.forget()
    try:
        library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        words = " ".join(str(error).replace(f"{path}: ", "").split())
        raise InvalidSpecError(
            f"plugin library {path.name} does not load: {words}",
            hint="It must be built for this host's system and for the toolchain's own release, and bring along "
            "what it links to.",
        ) from error
    registry = trt.get_plugin_registry()
    if any(hasattr(library, name) for name in _ASKED) and hasattr(registry, "load_library"):
        # Says what it does to the logger of the first runtime or builder; to nobody before there is one.
        _runtime = trt.Runtime(log.logger)
        try:
            handle = registry.load_library(str(path))
        except (RuntimeError, TypeError, ValueError) as error:
            raise spec_refusal(log, f"plugin library {path.name} ({error})") from error
        if handle is None:
            raise spec_refusal(log, f"plugin library {path.name}")
    return library
