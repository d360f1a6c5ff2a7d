"""Timing caches and plans, its own and foreign ones."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tensorrt_checks.building import (
    batches,
    build,
    conv_engine,
    loaded,
    options,
    refused,
    toolchain,
)
from tensorrt_checks.models import conv_net, images
from tensorrt_checks.registry import check

DRIVER = Path(__file__).parents[1] / "drive_tensorrt.py"


@check
def timing_cache_is_lent(scratch: Path) -> Any:
    """A second build with the first one's cache is quicker; bytes are compared and told."""
    import hashlib

    model, cache = conv_net(scratch / "cached.onnx"), scratch / "timing.cache"
    slow = options(builder_optimization_level=None)
    seconds, digests, taken = [], [], []
    for offered in (None, cache):
        began = time.monotonic()
        output = build(
            model,
            scratch / "cached.plan",
            [batches(1, 8, 32)],
            "fp16",
            builder_config=slow,
            timing_cache_in=offered,
            timing_cache_out=scratch / "kept.cache",
        )
        seconds.append(round(time.monotonic() - began, 2))
        assert output.timing_cache_written
        taken.append(output.details["timing_cache_taken"])
        (scratch / "kept.cache").replace(cache)
        digests.append(hashlib.sha256((scratch / "cached.plan").read_bytes()).hexdigest()[:12])
    assert taken == [False, True], taken
    assert seconds[1] < seconds[0], seconds
    garbage = scratch / "garbage.cache"
    garbage.write_bytes(b"not a timing cache" * 100)
    output = build(model, scratch / "g.plan", [batches(1, 8, 32)], timing_cache_in=garbage)
    off = build(
        model,
        scratch / "o.plan",
        [batches(1, 8, 32)],
        builder_config=options(timing_cache=False),
        timing_cache_in=cache,
        timing_cache_out=scratch / "none",
    )
    assert not off.timing_cache_written
    assert not (scratch / "none").exists()
    return {
        "seconds": seconds,
        "digests": digests,
        "bytes": cache.stat().st_size,
        "garbage_taken": output.details["timing_cache_taken"],
    }


@check
def timing_cache_merge(scratch: Path) -> Any:
    """Two builds' caches are combined, or refused as whole: never a combined one without what it is said to have.

    TensorRT 8.6 combines no cache with a Myelin part (docs/timing-caches.md); what it refuses, a build still takes.
    """
    model, first, second = (
        conv_net(scratch / "merged.onnx"),
        scratch / "first.cache",
        scratch / "second.cache",
    )
    usual = options(builder_optimization_level=None)

    def timed(precision: str, offered: Path | None, kept: Path) -> Any:
        plan = scratch / f"merged-{precision}.plan"
        profiles = [batches(1, 8, 32)]
        return build(
            model, plan, profiles, precision,
            builder_config=usual, timing_cache_in=offered, timing_cache_out=kept,
        ).timing_cache  # fmt: skip

    cold = [timed("fp32", None, first), timed("fp16", None, second)]
    both = scratch / "both.cache"
    taken = toolchain().merge_timing_caches([first, second], both)
    garbage = scratch / "no.cache"
    garbage.write_bytes(b"not a timing cache" * 100)
    assert toolchain().merge_timing_caches([first, garbage], scratch / "c")[1] is False
    offered = [both, both] if all(taken) else [first, second]
    warm = [timed("fp32", offered[0], scratch / "a"), timed("fp16", offered[1], scratch / "b")]
    assert all(use["taken"] for use in warm), warm
    # A log that tells nothing leaves nulls, which is no failure; one that tells must tell of hits.
    assert all(use["hits"] is None or use["hits"] > 0 for use in warm), warm
    sizes = [path.stat().st_size for path in (first, second, both) if path.exists()]
    assert not all(taken) or sizes[2] > max(sizes[:2]), sizes
    return {"combined": taken, "cold": cold, "warm": warm, "bytes": sizes}


@check
def timing_cache_of_this_gpu(scratch: Path) -> Any:
    """Leaves the cache of a small build in the scratch folder; what TensorRT said of it, word by word."""
    import tensorrt

    from workers.toolchains.trt_log import log_of

    kept = scratch / "of-this-gpu.cache"
    output = build(
        conv_net(scratch / "of-this-gpu.onnx"),
        scratch / "of-this-gpu.plan",
        [batches(1, 8, 32)],
        builder_config=options(builder_optimization_level=None),
        timing_cache_out=kept,
    )
    return {
        "use": output.timing_cache,
        "said": log_of(tensorrt).cache_lines[-8:],
        "bytes": kept.stat().st_size,
    }


@check
def timing_cache_of_another_gpu(scratch: Path) -> Any:
    """A cache of the host's second GPU is taken by the first one, for a build and for combining."""
    import os

    import pycuda.driver as cuda
    import tensorrt

    from workers.toolchains.trt_log import log_of

    cuda.init()
    if cuda.Device.count() < 2:
        return "not checked: it wants a host with two GPUs"
    there, here = scratch / "there", scratch / "here"
    for folder, gpu in ((there, "1"), (here, "0")):
        folder.mkdir(exist_ok=True)
        words = [sys.executable, str(DRIVER), "--check", "timing_cache_of_this_gpu", "--scratch", str(folder)]
        subprocess.run(
            words, env={**os.environ, "CUDA_VISIBLE_DEVICES": gpu}, check=True, capture_output=True
        )
    theirs, mine = (folder / "of-this-gpu.cache" for folder in (there, here))
    output = build(
        conv_net(scratch / "lent.onnx"),
        scratch / "lent.plan",
        [batches(1, 8, 32)],
        builder_config=options(builder_optimization_level=None),
        timing_cache_in=theirs,
        timing_cache_out=scratch / "lent.cache",
    )
    said = log_of(tensorrt).cache_lines[-8:]
    taken = toolchain().merge_timing_caches([mine, theirs], scratch / "both.cache")
    seen = {
        "use": output.timing_cache,
        "said": said,
        "combined": taken,
        "log": log_of(tensorrt).cache_lines[-8:],
    }
    assert output.timing_cache["taken"], seen
    assert taken == [True, True], seen
    return seen


@check
def refuses_foreign_plans(scratch: Path) -> Any:
    """Another version, another product, cut short, garbage: each is told from the others."""
    good = conv_engine(scratch).read_bytes()
    said = {"header": good[:32].hex()}
    cases = {
        "other version": (good[:24] + bytes([10, 16, 1, 11]) + good[28:], "10.16.1"),
        "rtx": (b"vtrt" + good[4:], "TensorRT-RTX"),
        "garbage": (b"hello world" * 100, "not an engine"),
        "empty": (b"", "not an engine"),
        "cut": (good[: len(good) // 2], ""),
    }
    for name, (data, fragment) in cases.items():
        path = scratch / f"{name}.plan"
        path.write_bytes(data)
        with refused("BuildError", fragment) as text:
            toolchain().load(path).close()
        said[name] = text[0]
    with loaded(conv_engine(scratch)) as live:
        live.infer(images(1))
    return said
