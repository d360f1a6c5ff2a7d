"""How the value of a trtexec flag becomes part of a request."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidSpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cli.trtexec_draft import Draft

    Translate = Callable[[Draft, str], None]

_UNITS = {"": 1 << 20, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_POOLS = {
    "workspace": "WORKSPACE",
    "dlaSRAM": "DLA_MANAGED_SRAM",
    "dlaLocalDRAM": "DLA_LOCAL_DRAM",
    "dlaGlobalDRAM": "DLA_GLOBAL_DRAM",
    "tacticSharedMem": "TACTIC_SHARED_MEMORY",
}
_PREVIEWS = {
    "fasterDynamicShapes0805": "FASTER_DYNAMIC_SHAPES_0805",
    "disableExternalTacticSourcesForCore0805": "DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805",
    "profileSharing0806": "PROFILE_SHARING_0806",
    "aliasedPluginIO1003": "ALIASED_PLUGIN_IO_10_03",
    "runtimeActivationResize": "RUNTIME_ACTIVATION_RESIZE_10_10",
}


def key(name: str) -> Translate:
    """The value as it stands, under a key of the spec file."""

    def translate(draft: Draft, value: str) -> None:
        draft.document[name] = value

    return translate


def milliseconds(name: str, unit_ms: int) -> Translate:
    """A span of time in units of so many milliseconds, under a key of the spec file."""

    def translate(draft: Draft, value: str) -> None:
        try:
            span = Fraction(value) * unit_ms
        except (ValueError, ZeroDivisionError):
            raise InvalidSpecError(f"{value!r} is no number") from None
        if span < 0 or span.denominator != 1:
            raise InvalidSpecError(
                "the farm measures for a whole number of milliseconds, and not without an end"
            )
        draft.document[name] = int(span)

    return translate


def each(name: str) -> Translate:
    """One more member of a list under a key of the spec file."""

    def translate(draft: Draft, value: str) -> None:
        draft.document.setdefault(name, []).append(value)

    return translate


def iterations(draft: Draft, value: str) -> None:
    """`--iterations=100`: at least; the farm counts 20 in any case."""
    draft.document["min_iterations"] = max(_count(value), 20)


def streams(draft: Draft, value: str) -> None:
    """`--infStreams=4`, and `--streams=4` as it was called before."""
    draft.document["streams"] = [_count(value)]


def precision(word: str) -> Translate:
    """A precision flag; several make a set."""

    def translate(draft: Draft, _value: str) -> None:
        draft.precisions.append(word)

    return translate


def without_tf32(draft: Draft, _value: str) -> None:
    """`--noTF32`."""
    draft.tf32 = False


def strongly_typed(draft: Draft, _value: str) -> None:
    """`--stronglyTyped`."""
    draft.strongly_typed = True


def options(**values: Any) -> Translate:
    """A switch that sets builder options."""

    def translate(draft: Draft, _value: str) -> None:
        draft.options.update(values)

    return translate


def strip(draft: Draft, _value: str) -> None:
    """`--stripWeights`: the same weights go back in, unless `--refit` allows others."""
    draft.options["strip_plan"] = True
    if not draft.options.get("refit"):
        draft.options["refit_identical"] = True


def refit(draft: Draft, _value: str) -> None:
    """`--refit`, alone or beside `--stripWeights`."""
    draft.options["refit"] = True
    draft.options.pop("refit_identical", None)


def option(name: str, *, usual: str = "") -> Translate:
    """The value as it stands, for a builder option; the usual one says nothing."""

    def translate(draft: Draft, value: str) -> None:
        if not value:
            raise InvalidSpecError("a value is missing")
        if value != usual:
            draft.options[name] = value

    return translate


def word(name: str, words: Mapping[str, str]) -> Translate:
    """One of trtexec's words, for a builder option that has TensorRT's."""

    def translate(draft: Draft, value: str) -> None:
        found = {known.lower(): trt_word for known, trt_word in words.items()}.get(value.lower())
        if found is None:
            raise InvalidSpecError(f"{value!r} is none of {', '.join(words)}")
        draft.options[name] = found

    return translate


def size(name: str) -> Translate:
    """A size with trtexec's units, MiB if there is none, in bytes."""

    def translate(draft: Draft, value: str) -> None:
        draft.options[name] = _bytes(value)

    return translate


def pools(draft: Draft, value: str) -> None:
    """`--memPoolSize=workspace:1024,dlaSRAM:0.5M`."""
    for part in filter(None, value.split(",")):
        pool, _, amount = part.partition(":")
        if pool not in _POOLS:
            raise InvalidSpecError(f"{pool!r} is none of {', '.join(_POOLS)}")
        draft.options[f"memory_pool_limits.{_POOLS[pool]}"] = _bytes(amount)


def tactic_sources(draft: Draft, value: str) -> None:
    """`--tacticSources=-CUDNN,+CUBLAS`."""
    draft.options["tactic_sources"] = [
        re.sub(r"CUBLASLT$", "CUBLAS_LT", part.upper()) for part in _signed(value)
    ]


def previews(draft: Draft, value: str) -> None:
    """`--preview=+profileSharing0806`."""
    chosen = []
    for part in _signed(value):
        if part[1:] not in _PREVIEWS:
            raise InvalidSpecError(f"{part[1:]!r} is none of {', '.join(_PREVIEWS)}")
        chosen.append(part[0] + _PREVIEWS[part[1:]])
    draft.options["preview_features"] = chosen


def sparsity(draft: Draft, value: str) -> None:
    """`--sparsity=enable`."""
    if value == "force":
        raise InvalidSpecError("the farm changes no weights: prune the model first, then --sparsity=enable")
    word("sparse_weights", {"disable": "false", "enable": "true"})(draft, value)


def dla_core(draft: Draft, value: str) -> None:
    """`--useDLACore=0`; -1 is none."""
    if value != "-1":
        draft.options.update({"default_device_type": "DLA", "DLA_core": value})


def profile(draft: Draft, value: str) -> None:
    """`--profile=1`: what the shapes after it are for."""
    if not value.isdigit():
        raise InvalidSpecError(f"{value!r} is no number of a profile")
    draft.profile = int(value)


def shapes(kind: str) -> Translate:
    """`--minShapes=x:1x3x224x224` and its like."""

    def translate(draft: Draft, value: str) -> None:
        own = draft.profiles.setdefault(draft.profile, {})
        if kind in own:
            raise InvalidSpecError(f"profile {draft.profile} has them already")
        own[kind] = _shapes(value)

    return translate


def run_shapes(draft: Draft, value: str) -> None:
    """`--shapes=x:8x3x224x224`: what to measure at, and all there is to build for if no other shapes are given."""
    draft.run_shapes = _shapes(value)


def formats(attribute: str) -> Translate:
    """`--inputIOFormats=fp16:chw,int8:chw32`, in the order of the model's inputs."""

    def translate(draft: Draft, value: str) -> None:
        setattr(draft, attribute, tuple(part.strip() for part in value.split(",") if part.strip()))

    return translate


def _shapes(value: str) -> str:
    shapes: dict[str, str] = {}
    for part in filter(None, value.split(",")):
        name, colon, shape = part.strip().rpartition(":")
        name = name.strip("'")
        if "*" in name:
            raise InvalidSpecError(f"wildcards are not taken: name the inputs that {name!r} stands for")
        if colon and shape in ("", "scalar"):
            raise InvalidSpecError(f"input {name!r} is a scalar, which has one shape: leave it out")
        if not name or not re.fullmatch(r"\d+(x\d+)*", shape):
            raise InvalidSpecError(f"{part!r} is not an input's shape such as x:1x3x224x224")
        if name in shapes:
            raise InvalidSpecError(f"input {name!r} is given two shapes")
        shapes[name] = shape
    if not shapes:
        raise InvalidSpecError("a value is missing")
    return ",".join(f"{name}:{shape}" for name, shape in shapes.items())


def _signed(value: str) -> list[str]:
    parts = [part.strip() for part in value.split(",") if part.strip()]
    if not parts or any(part[0] not in "+-" for part in parts):
        raise InvalidSpecError("each word begins with + or -")
    return parts


def _count(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) < 1:
        raise InvalidSpecError(f"{value!r} is no number from 1 on")
    return int(value)


def _bytes(value: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([BKMG]?)", value.strip())
    if not found:
        raise InvalidSpecError(f"{value!r} is no size such as 1024, which is MiB, or 0.5G")
    # Rounded down, as trtexec does.
    return int(Fraction(found[1]) * _UNITS[found[2]])
