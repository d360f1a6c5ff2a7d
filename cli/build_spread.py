"""How the builds look that an engine was chosen from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.render import ms

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from farm.domain.filing import Engine


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
    failed = len(builds) - sum(map(_is_eligible, builds))
    return f"{words}, {failed} of them refused" if failed else words


def _is_eligible(build: Mapping[str, Any]) -> bool:
    return build["verdict"] in ("accurate enough", "not verified")
