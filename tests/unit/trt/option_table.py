"""The table of docs/builder-options.md, from what the surfaces of all releases offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.calibration import ALGORITHM_OPTION
from farm.domain.option_releases import CHOICE_RELEASES, OPTION_RELEASES
from farm.domain.timing_caches import NOT_IN_FLAGS
from tests.unit.trt.surface import surface
from workers.toolchains.trt_options import options_of

if TYPE_CHECKING:
    from farm.domain.toolchains import BuilderOption

#: The oldest first, so that a newer one's words of an option win.
_SURFACES = ("8.5.3.1", "8.6.0", "10.16.1.11", "11.4.0.106")


def option_table() -> str:
    """One row for each option, in alphabetical order."""
    offered: dict[str, BuilderOption] = {}
    words: dict[str, set[str]] = {}
    for version in _SURFACES:
        for option in options_of(surface(version)):
            offered[option.name] = option
            words.setdefault(option.name, set()).update(option.choices)
    offered.pop(ALGORITHM_OPTION, None)
    lines = [
        "| option | values | default | releases | timing cache | what it does |",
        "|---|---|---|---|---|---|",
    ]
    for name in sorted(offered, key=str.lower):
        option, releases = offered[name], OPTION_RELEASES[name]
        rtx = "" if releases.why_not_rtx else ", TensorRT-RTX"
        cache = "shared" if name in NOT_IN_FLAGS else "its own"
        lines.append(
            f"| `{name}` | {_values(option, words[name])} | {_default(option)} | {releases}{rtx} | {cache} | {option.help} |"
        )
    return "\n".join(lines) + "\n"


def _values(option: BuilderOption, words: set[str]) -> str:
    if option.kind == "int":
        return (
            f"{option.minimum} to {option.maximum}" if option.maximum < 2**62 else f"from {option.minimum} on"
        )
    if option.kind in ("choice", "signed-set"):
        sign = "±" if option.kind == "signed-set" else ""
        return ", ".join(sign + _word(option.name, word) for word in sorted(words))
    return {"bool": "true, false", "bytes": "a size (`64MiB`)", "names": "names"}[option.kind]


def _word(name: str, word: str) -> str:
    releases = CHOICE_RELEASES.get((name, word))
    return f"{word} ({releases})" if releases else word


def _default(option: BuilderOption) -> str:
    if option.default in (None, []):
        return "–"
    return str(option.default).lower() if option.kind == "bool" else str(option.default)
