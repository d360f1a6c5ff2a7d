"""Build specs: everything that changes an engine, and the key that follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from farm.domain.calibration import Calibration
from farm.domain.digests import Digest, canonical_json, digest_of_bytes
from farm.domain.errors import InvalidSpecError
from farm.domain.shapes import DYNAMIC, ShapeRange, shape_text
from farm.domain.suggestions import did_you_mean
from farm.domain.targets import DeviceType, Target, ToolchainId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farm.domain.models import Model
    from farm.domain.shapes import Shape

Profile = "Mapping[str, ShapeRange]"


@dataclass(frozen=True)
class BuildSpec:
    """What to build. Equal specs have equal keys and share one engine.

    Attributes:
        model_sha256: digest of the model's content.
        target: device type and toolchain.
        precision: as asked for; the toolchain decides how to honour it.
        builder_config: canonical options, defaults left out (`ToolchainDescription.normalise`).
        profiles: one optimization profile per entry: a range for every dynamic input.
        salt: any text; another salt disowns a cell and builds it anew.
        calibration: what INT8 is calibrated with; none where nothing is.
        io_formats: types and formats of inputs and outputs that are not as in the model, in TensorRT's words:
            `{"input": "fp16:chw16"}`.
        plugins: digests of plugin libraries that are loaded before the model is parsed, in that order.
        kept_layers: nodes of the model that stay in FP32 whatever the precision, by name.
        refit_of: digest of the engine's bytes whose weights are replaced by the model's, in place of a build; empty
            for a build.
    """

    model_sha256: str
    target: Target
    precision: str
    builder_config: Mapping[str, Any] = field(default_factory=dict)
    profiles: tuple[Mapping[str, ShapeRange], ...] = ()
    salt: str = ""
    calibration: Calibration | None = None
    io_formats: Mapping[str, str] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    kept_layers: tuple[str, ...] = ()
    refit_of: str = ""

    def as_json(self) -> dict[str, Any]:
        """Every component of the key; stored with the engine, so that a miss can be explained."""
        # Not there unless there is one: the keys of all other engines stay what they were.
        later = {
            "calibration": self.calibration.as_json() if self.calibration else None,
            "io_formats": dict(self.io_formats),
            "plugins": list(self.plugins),
            "kept_layers": sorted(self.kept_layers),
            "refit_of": self.refit_of,
        }
        return {
            "model": self.model_sha256,
            "device_type": self.target.device_type.as_json(),
            "toolchain": self.target.toolchain.as_json(),
            "precision": self.precision,
            "builder_config": dict(self.builder_config),
            "profiles": [
                {name: shapes.as_json() for name, shapes in profile.items()} for profile in self.profiles
            ],
            "salt": self.salt,
            **{name: value for name, value in later.items() if value},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BuildSpec:
        """The inverse of `as_json`."""
        return cls(
            model_sha256=value["model"],
            target=Target(
                DeviceType.from_json(value["device_type"]), ToolchainId.from_json(value["toolchain"])
            ),
            precision=value["precision"],
            builder_config=value["builder_config"],
            profiles=tuple(
                {name: ShapeRange.from_json(shapes) for name, shapes in profile.items()}
                for profile in value["profiles"]
            ),
            salt=value["salt"],
            calibration=Calibration.from_json(value["calibration"]) if value.get("calibration") else None,
            io_formats=value.get("io_formats", {}),
            plugins=tuple(value.get("plugins", ())),
            kept_layers=tuple(value.get("kept_layers", ())),
            refit_of=value.get("refit_of", ""),
        )

    @cached_property
    def digest(self) -> Digest:
        """The key of the engine: sha256 of the spec's canonical JSON."""
        return digest_of_bytes(canonical_json(self.as_json()))


def profile_from_shapes(
    model: Model,
    min_shapes: Mapping[str, Shape],
    opt_shapes: Mapping[str, Shape],
    max_shapes: Mapping[str, Shape],
) -> dict[str, ShapeRange]:
    """One optimization profile from what a user wrote; a shape given once stands for all three.

    Raises:
        InvalidSpecError: an input is unknown, static, missing, or its range does not fit the model.
    """
    dynamic = {tensor.name: tensor for tensor in model.inputs if tensor.is_dynamic}
    given = {name: None for shapes in (min_shapes, opt_shapes, max_shapes) for name in shapes}
    for name in given:
        if name not in {tensor.name for tensor in model.inputs}:
            raise InvalidSpecError(
                f"the model has no input {name!r}",
                hint=did_you_mean(name, [tensor.name for tensor in model.inputs]),
            )
        if name not in dynamic:
            raise InvalidSpecError(
                f"input {name!r} is static: it takes no shapes", hint="Leave its shapes out."
            )
    profile = {}
    for name, tensor in dynamic.items():
        known = [shapes[name] for shapes in (opt_shapes, max_shapes, min_shapes) if name in shapes]
        if not known:
            raise InvalidSpecError(
                f"input {name!r} is dynamic ({tensor}) and needs shapes",
                hint=f"Give --min-shapes, --opt-shapes and --max-shapes {name}:… or --batch.",
            )
        shapes = ShapeRange(
            min_shapes.get(name, known[0]), opt_shapes.get(name, known[0]), max_shapes.get(name, known[0])
        )
        for shape in (shapes.min, shapes.opt, shapes.max):
            if len(shape) != len(tensor.shape) or any(
                size not in (-1, given_size) for size, given_size in zip(tensor.shape, shape)
            ):
                raise InvalidSpecError(f"shape {shape_text(shape)} does not fit input {tensor}")
        profile[name] = shapes
    return profile


def profile_from_batches(model: Model, batches: Sequence[int]) -> dict[str, ShapeRange]:
    """A profile for a model whose only dynamic dimension is the first one of its inputs.

    The smallest batch is min, the largest is max, and opt is the middle one of those asked for.

    Raises:
        InvalidSpecError: something other than the batch is dynamic, so that shapes must be given.
    """
    profile = {}
    sizes = sorted(batches) or [1]
    low, mid, high = sizes[0], sizes[len(sizes) // 2], sizes[-1]
    for tensor in model.inputs:
        if not tensor.is_dynamic:
            continue
        if tensor.shape[0] != -1 or -1 in tensor.shape[1:]:
            raise InvalidSpecError(
                f"more than the batch is dynamic in input {tensor}",
                hint=f"Give --min-shapes, --opt-shapes and --max-shapes {tensor.name}:…",
            )
        rest = tensor.shape[1:]
        profile[tensor.name] = ShapeRange((low, *rest), (mid, *rest), (high, *rest))
    return profile


def shapes_at_batch(model: Model, profile: Mapping[str, ShapeRange], batch: int) -> dict[str, Shape]:
    """Every input's shape at a batch size: the profile's opt shape with the first dimension replaced.

    Raises:
        InvalidSpecError: the batch lies outside the profile, or the model's batch is fixed.
    """
    _check_fixed_batch(model, batch)
    shapes = {}
    for tensor in model.inputs:
        if tensor.name not in profile:
            shapes[tensor.name] = tensor.shape
            continue
        span = profile[tensor.name]
        shape = (batch, *span.opt[1:]) if tensor.shape[:1] == (-1,) else span.opt
        if not span.contains(shape):
            raise InvalidSpecError(
                f"batch {batch} is outside the profile of input {tensor.name!r}: "
                f"{shape_text(span.min)} to {shape_text(span.max)}"
            )
        shapes[tensor.name] = shape
    return shapes


def _check_fixed_batch(model: Model, batch: int) -> None:
    """Refuses a batch that would be believed and never run: where no input has a dynamic first dimension.

    Inputs without a batch, such as a time step, may stand beside the one that has it.
    """
    sizes = {tensor.shape[0] for tensor in model.inputs if tensor.shape}
    if DYNAMIC in sizes or batch in (sizes or {1}):
        return
    where = (
        f"fixed at {' or '.join(map(str, sorted(sizes)))}" if sizes else "not there: its inputs are scalars"
    )
    raise InvalidSpecError(
        f"the model's batch is {where}: it can not run at {batch}",
        hint="Export it with a dynamic batch dimension, or leave --batch out.",
    )
