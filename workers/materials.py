"""What an attempt needs before its child starts: the model's files, caches, inputs, the reference."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from farm.domain.digests import canonical_json
from farm.domain.identifiers import new_id
from farm.domain.input_ranges import ranges_as_json
from farm.domain.profile_shapes import first_profile, opt_shapes_of, opt_values_of, profile_for_samples
from farm.domain.profiles import profile_at_batch, shapes_at_batch
from workers.array_shapes import array_shapes
from workers.child.reference_request import shapes_as_json
from workers.child.timed_call import TimedCall
from workers.confinement import make_read_only

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from farm.bootstrap import Farm
    from farm.domain.input_ranges import InputRange
    from farm.domain.models import Model
    from farm.domain.shapes import Shape, ShapeRange
    from farm.domain.work import Job
    from farm.services.ports import ArtifactStore, Database

#: What the references of a host may take on its disk.
REFERENCE_CACHE_BYTES = 2 << 30


def place_model(store: ArtifactStore, model: Model, folder: Path, progress: Callable[[str], None]) -> Path:
    """Writes a model's files into a fresh folder, as real files, verified, read-only; the graph's path.

    Raises:
        NotFoundError: the store has lost one.
        CorruptArtifactError: one was altered.
    """
    folder.mkdir(parents=True)
    for file in model.files:
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        progress(f"fetching {file.name}")
        store.fetch(file.digest, path)
    make_read_only(folder)
    return folder / model.files[0].name


def place_inputs(database: Database, store: ArtifactStore, sha256: str, path: Path) -> None:
    """Writes the user's sample inputs to a file.

    Raises:
        NotFoundError: nobody knows such an artifact.
    """
    with database.reading() as transaction:
        digest = transaction.engines.artifact(sha256)
    store.fetch(digest, path)


def place_read_only(farm: Farm, sha256: str, path: Path, insist: Callable[[Callable[[], Any]], Any]) -> None:
    """Writes an artifact that a child reads and must not change, making its folder.

    Raises:
        NotFoundError: the store has lost it.
        CorruptArtifactError: it was altered.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    insist(lambda: place_inputs(farm.database, farm.store, sha256, path))
    path.chmod(0o444)


def chunk_shapes(model: Model, job: Job, inputs: Path | None = None) -> dict[str, Shape]:
    """The shapes of one call in a verification: a profile's opt shapes, or the model's own.

    Args:
        model: of the job.
        job: that is verified.
        inputs: the samples; none for random ones, which are made for the first profile.
    """
    profile = _chunk_profile(model, job, inputs)
    for tensor in model.inputs:
        if tensor.name in profile and tensor.shape[:1] == (-1,):
            return shapes_at_batch(model, profile, profile[tensor.name].opt[0])
    return opt_shapes_of(model, profile)


def chunk_values(model: Model, job: Job, inputs: Path | None = None) -> dict[str, Shape]:
    """The values of the inputs that hold a shape in a verification; the arguments are those of `chunk_shapes`."""
    return opt_values_of(model, _chunk_profile(model, job, inputs))


def further_calls(model: Model, job: Job) -> tuple[tuple[Mapping[str, Shape], Mapping[str, Shape]], ...]:
    """Shapes and values of one call in every optimization profile but the first."""
    return tuple(
        (opt_shapes_of(model, profile), opt_values_of(model, profile)) for profile in job.spec.profiles[1:]
    )


def _chunk_profile(model: Model, job: Job, inputs: Path | None) -> Mapping[str, ShapeRange]:
    profiles = job.spec.profiles
    if inputs is None or len(profiles) <= 1:
        return first_profile(profiles)
    return profile_for_samples(model, profiles, array_shapes(inputs))


def timed_calls(model: Model, job: Job) -> tuple[TimedCall, ...]:
    """What is fed for every batch size of a job, in the profile that fits the batch best."""
    found = []
    for batch in job.request.benchmark.batches:
        profile = profile_at_batch(model, job.spec.profiles, batch)
        found.append(TimedCall(batch, shapes_at_batch(model, profile, batch), opt_values_of(model, profile)))
    return tuple(found)


@dataclass(frozen=True)
class ReferenceKey:
    """What a reference depends on, and so where it is kept on this host."""

    model_sha256: str
    inputs_sha256: str
    seed: int
    shapes: Mapping[str, Shape]
    toolchain: str
    values: Mapping[str, Shape] = field(default_factory=dict)
    further: tuple[tuple[Mapping[str, Shape], Mapping[str, Shape]], ...] = ()
    ranges: Mapping[str, InputRange] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """A name for its folder."""
        return self.sha256[:32]

    @property
    def sha256(self) -> str:
        """Of all of it."""
        value = [
            self.model_sha256,
            self.inputs_sha256,
            self.seed,
            shapes_as_json(self.shapes),
            self.toolchain,
            *([shapes_as_json(self.values)] if self.values else []),
            *([shapes_as_json(shapes), shapes_as_json(values)] for shapes, values in self.further),
            # As text: canonical JSON has no floats.
            *([str(ranges_as_json(self.ranges))] if self.ranges else []),
        ]
        return hashlib.sha256(canonical_json(value)).hexdigest()


class ReferenceCache:
    """References that this host has computed, so that every precision of a model shares one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, key: ReferenceKey) -> Path | None:
        """The folder with `inputs.npz`, `outputs.npz` and `name.txt`, if it is there."""
        folder = self._folder / key.name
        if not (folder / "name.txt").exists():
            return None
        os.utime(folder)
        return folder

    def keep(self, key: ReferenceKey, folder: Path) -> Path:
        """Takes a finished folder in, and drops the longest unused ones beyond the limit."""
        self._folder.mkdir(parents=True, exist_ok=True)
        place = self._folder / key.name
        try:
            folder.rename(place)
        except OSError:
            # Somebody else on this host was faster; theirs is the same.
            shutil.rmtree(folder, ignore_errors=True)
        # Tidying up may meet another worker of the host that does the same.
        with suppress(OSError):
            self._evict(place)
        return place

    def _evict(self, newest: Path) -> None:
        folders = sorted((f for f in self._folder.iterdir() if f.is_dir()), key=lambda f: f.stat().st_mtime)
        sizes = {folder: sum(file.stat().st_size for file in folder.iterdir()) for folder in folders}
        total = sum(sizes.values())
        for folder in folders:
            if total <= REFERENCE_CACHE_BYTES:
                return
            if folder != newest:
                _remove_whole(folder)
                total -= sizes[folder]


def _remove_whole(folder: Path) -> None:
    """Away under its name in one step: whoever is killed at it leaves nothing that looks complete."""
    doomed = folder.with_name(new_id(".doomed"))
    with suppress(OSError):
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
