"""How an engine came about, in a few words: the builds that it was chosen from, what was kept or replaced in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.render import ms

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from farm.domain.filing import Engine
    from farm.domain.specs import BuildSpec


def spread_text(engine: Engine) -> str:
    """How far the builds lie apart, in a few words; empty for an engine of one build.

    `fastest of 3 builds (batch 8: 0.412 to 0.467 ms)`: at the largest batch that was timed.
    """
    builds = engine.builds
    if not builds:
        return ""
    words = f"fastest of {len(builds)} builds"
    timed = [build for build in builds if build["median_ms"] and _is_eligible(build)]
    if timed:
        batch = max((name for build in timed for name in build["median_ms"]), key=int)
        medians = [build["median_ms"][batch] for build in timed if batch in build["median_ms"]]
        words += f" (batch {batch}: {ms(min(medians))} to {ms(max(medians))} ms)"
    if len({build["sha256"] for build in timed}) == 1 < len(timed):
        words += ", all of the same bytes"
    failed = len(builds) - sum(map(_is_eligible, builds))
    return f"{words}, {failed} of them refused" if failed else words


def kept_text(spec: BuildSpec) -> str:
    """How many nodes stay in FP32; empty if none does."""
    return f"{len(spec.kept_layers)} node(s) in FP32" if spec.kept_layers else ""


def precision_text(spec: BuildSpec) -> str:
    """The precision of a cell, with what tells it from another one of the same precision in one submission."""
    return f"{spec.precision} (refit)" if spec.refit_of else spec.precision


def refit_text(spec: BuildSpec) -> str:
    """Whose weights were replaced; empty for a build."""
    return f"refit of {spec.refit_of[:12]}" if spec.refit_of else ""


def _is_eligible(build: Mapping[str, Any]) -> bool:
    return build["verdict"] in ("accurate enough", "not verified")
