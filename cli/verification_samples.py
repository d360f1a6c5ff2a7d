"""What an engine is verified on where nobody gave inputs: its calibration samples, for noise says little of 8 bits."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cli.render import show_note

if TYPE_CHECKING:
    import click

    from farm.domain.models import Model

#: More of them change the figures little, and each one is computed by the reference on a CPU.
MOST_SAMPLES = 64


def first_samples(ctx: click.Context, samples: Path, model: Model) -> Path | None:
    """The first calibration samples as inputs to verify with, for as long as the command runs.

    Returns:
        An `.npz`; none where the samples do not say every input.
    """
    from workers.arrays import read_arrays
    from workers.samples.archive import Collected, write_archive

    arrays = {name: array for name, array in read_arrays(samples).items() if "/" not in name}
    names = [tensor.name for tensor in model.inputs]
    if not set(names) <= set(arrays) or any(not arrays[name].ndim for name in arrays):
        return None
    fixed = max((tensor.shape[0] for tensor in model.inputs if tensor.shape), default=1)
    count = min(MOST_SAMPLES, *map(len, arrays.values()))
    count -= count % max(fixed, 1)
    if count < 1:
        return None
    folder = Path(ctx.with_resource(tempfile.TemporaryDirectory(prefix="farm-samples-")))
    collected = {}
    for name, array in arrays.items():
        collected[name] = Collected(array.dtype.name, array.shape[1:])
        for sample in array[:count]:
            collected[name].add(sample)
    path = folder / "inputs.npz"
    write_archive(path, collected, count)
    for held in collected.values():
        held.close()
    show_note(f"verified on the first {count} calibration sample(s): --inputs names others")
    return path
