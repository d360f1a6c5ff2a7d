"""Profiles of layers as they are stored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cli.render import ms, percent, show_line, show_table
from farm.domain.errors import CorruptArtifactError
from farm.domain.layer_times import profiles_from_json

if TYPE_CHECKING:
    from farm.bootstrap import Farm
    from farm.domain.filing import Run
    from farm.domain.layer_times import LayerProfile

#: Of layers whose names are longer the beginning and the end are shown.
_COLUMNS = ("layer", "type", "share>", "median ms>", "p90 ms>", "count>")


def read_profiles(farm: Farm, run: Run, batch: int | None = None) -> list[LayerProfile]:
    """What a run has stored of its layers' times.

    Raises:
        CorruptArtifactError: it is no profile.
        StoreUnavailableError: the store is away.
    """
    if run.profile is None:
        return []
    try:
        document = json.loads(b"".join(farm.store.chunks(run.profile)))
    except ValueError as error:
        raise CorruptArtifactError(f"the profile of run {run.id} is no JSON: {error}") from error
    return [profile for profile in profiles_from_json(document) if batch in (None, profile.batch)]


def medians(profile: LayerProfile) -> dict[str, float]:
    """Milliseconds by the layer's name."""
    return {layer.name: layer.median_ms for layer in profile.layers()}


def show_profile(profile: LayerProfile) -> None:
    """A profile for people, the layers that take most first."""
    from cli.inspect_engine import short_name

    layers = sorted(profile.layers(), key=lambda layer: -layer.share)
    show_line(
        f"batch {profile.batch}: {ms(profile.total_ms)} ms in {len(layers)} layers, "
        f"{len(profile.iterations)} iterations under {profile.profiler}"
    )
    show_table(
        _COLUMNS,
        [
            [
                short_name(layer.name),
                layer.type,
                percent(layer.share),
                ms(layer.median_ms),
                ms(layer.p90_ms),
                layer.count,
            ]
            for layer in layers
        ],
    )


def profile_as_json(profile: LayerProfile) -> dict[str, Any]:
    """A profile as a document."""
    return {
        "batch": profile.batch,
        "shapes": {name: list(shape) for name, shape in profile.shapes.items()},
        "profiler": profile.profiler,
        "iterations": len(profile.iterations),
        "total_ms": profile.total_ms,
        "layers": [layer.as_json() for layer in profile.layers()],
    }
