"""TensorRT's timing caches: offered to a build, kept, combined, and what its log tells of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Callable, Iterable, Sequence

if TYPE_CHECKING:
    from pathlib import Path

    from workers.toolchains.trt_log import TrtLog

# The wording is that of the library itself (libnvinfer 8.6.0, optimizer/api/timingCache.cpp; TensorRT-RTX 1.7
# has the same). All are verbose; the last comes when the cache is freed.
_LOADED = re.compile(r"Loaded (\d+) timing cache entries")
_SERIALIZED = re.compile(r"Serialized (\d+) timing cache entries")
_DELETED = re.compile(r"Deleting timing cache: (\d+) entries, served (\d+) hits since creation")
#: Said where a cache is of the same release but of another GPU.
_OTHER_GPU = "UUID in incoming ITimingCache is different from current device"


def offer_timing_cache(config: Any, log: TrtLog, path: Path | None) -> bool:
    """Gives the config an earlier timing cache, or an empty one, so that it can be kept afterwards.

    Returns:
        Whether the earlier one was taken.
    """
    if path is not None:
        cache = read_cache(config, path)
        if cache is not None and _accepts(log, lambda lenient: config.set_timing_cache(cache, lenient)):
            return True
        log.write(
            "W", f"the timing cache {path.name} is not for this device and release: building without it"
        )
        log.forget()
    config.set_timing_cache(config.create_timing_cache(b""), False)
    return False


def keep_timing_cache(config: Any, path: Path | None) -> bool:
    """Writes the config's timing cache to a file; whether there was one."""
    if path is None:
        return False
    cache = config.get_timing_cache()
    if cache is None:
        return False
    write_cache(cache, path)
    return True


def combine_caches(config: Any, log: TrtLog, paths: Sequence[Path], merged_path: Path) -> list[bool]:
    """Writes one cache with the entries of several; of two timings of one tactic the earlier path's holds.

    Returns:
        For every path whether it was taken; nothing is written if none was.
    """
    base: Any = None
    taken = []
    for path in paths:
        cache = read_cache(config, path)
        if cache is None:
            taken.append(False)
            continue
        if base is None:
            # Its header is compared with this device and release, as that of every other one is below.
            empty = config.create_timing_cache(b"")
            taken.append(_combine(log, empty, cache))
            base = empty if taken[-1] else None
        else:
            taken.append(_combine(log, base, cache))
    if base is not None:
        write_cache(base, merged_path)
    return taken


def read_cache(config: Any, path: Path) -> Any:
    """A cache from a file; none if the builder can make nothing of it."""
    data = path.read_bytes()
    # TensorRT takes no bytes for an empty cache, so a file that was cut to nothing would pass.
    return config.create_timing_cache(data) if data else None


def write_cache(cache: Any, path: Path) -> None:
    """Writes a cache to a file."""
    with path.open("wb") as file:
        file.write(cache.serialize())


def cache_facts(lines: Iterable[str]) -> dict[str, int | None]:
    """What TensorRT's log tells of the cache that a build used; none for what it does not tell.

    >>> cache_facts(["Loaded 7 timing cache entries.", "Deleting timing cache: 9 entries, served 30 hits since creation."])
    {'entries_before': 7, 'entries_after': 9, 'hits': 30}
    """
    loaded: int | None = None
    after: int | None = None
    hits: int | None = None
    for line in lines:
        if found := _LOADED.search(line):
            loaded = int(found[1])
        elif found := _SERIALIZED.search(line):
            after = int(found[1])
        elif (found := _DELETED.search(line)) and int(found[2]) >= (hits or 0):
            # Caches that only passed through have served nothing.
            hits = int(found[2])
            after = max(int(found[1]), after or 0)
    return {"entries_before": loaded, "entries_after": after, "hits": hits}


def _combine(log: TrtLog, base: Any, cache: Any) -> bool:
    return _accepts(log, lambda lenient: base.combine(cache, lenient))


def _accepts(log: TrtLog, try_it: Callable[[bool], Any]) -> bool:
    """Whether TensorRT takes a cache: strictly, or because it differs in nothing but which GPU it is of.

    The header names the very GPU. The farm lends a cache to devices of one type only, so that alone is no
    reason; anything else is: NVIDIA warns of wrong results with another kind of device's timings.
    """
    heard = len(log.cache_lines)
    if try_it(False):
        return True
    is_other_gpu = any(_OTHER_GPU in line for line in log.cache_lines[heard:])
    if not is_other_gpu or not try_it(True):
        return False
    log.forget()
    log.write("I", "the timing cache is of another GPU of the same type: it is used all the same")
    return True
