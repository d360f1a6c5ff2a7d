"""Plan a submission: the matrix of (target x precision), checked, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.calibration import ALGORITHM_OPTION, ALGORITHMS, is_calibrated, why_not_calibrated
from farm.domain.conversion import why_model_can_not
from farm.domain.errors import InvalidSpecError, UnsupportedTargetError
from farm.domain.io_formats import canonical_io_formats, why_not_io_formats
from farm.domain.model_formats import why_not_format
from farm.domain.option_releases import where_it_is
from farm.domain.option_rules import why_options_can_not
from farm.domain.precisions import PRECISIONS, why_device_can_not
from farm.domain.profile_shapes import usual_batches
from farm.domain.profiles import profile_at_batch, profiles_from_wishes
from farm.domain.specs import BuildSpec
from farm.domain.suggestions import did_you_mean
from farm.services.targets import ALL, resolve_targets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farm.domain.calibration import Calibration
    from farm.domain.models import Model
    from farm.domain.shapes import Shape, ShapeRange
    from farm.domain.targets import ToolchainId
    from farm.domain.toolchains import ToolchainDescription
    from farm.services.ports import Transaction

#: Precisions of which nothing is to be kept.
_ALL_FP32 = ("fp32", "tf32")


@dataclass(frozen=True)
class BuildRequest:
    """What a user asks for, in the user's own words.

    Attributes:
        gpus: words for device types; empty for all that are known.
        toolchains: words for toolchains; empty for the newest of each.
        precisions: one cell for each on every target.
        min_shapes: smallest shapes of dynamic inputs (or values of those that hold a shape), one mapping for each
            optimization profile.
        opt_shapes: the shapes to tune for.
        max_shapes: largest shapes.
        batches: batch sizes to measure; they make the profile where no shapes are given.
        options: builder options; `toolchain:option` is for that toolchain alone.
        kept_layers: nodes that stay in FP32, by name; without effect on cells in FP32 and TF32.
        salt: another text builds the same cells anew.
        calibration: what cells with INT8 are calibrated with.
        calibration_algorithm: how, in the user's word; empty for the usual one.
        skip_unsupported: leave out the cells that a toolchain can not do, instead of refusing.
        builds: how often a cell is built, to keep the fastest engine.
        io_formats: types and formats of inputs and outputs, by name (`farm.domain.io_formats`).
        plugins: digests of plugin libraries, in the order of loading.
        program: digest of the file with the PyTorch model behind an ONNX model; empty if there is none at hand.
        program_format: what that file is (`farm.domain.model_formats`).
    """

    gpus: tuple[str, ...] = ()
    toolchains: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ("fp32",)
    min_shapes: tuple[Mapping[str, Shape], ...] = ()
    opt_shapes: tuple[Mapping[str, Shape], ...] = ()
    max_shapes: tuple[Mapping[str, Shape], ...] = ()
    batches: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    kept_layers: tuple[str, ...] = ()
    salt: str = ""
    calibration: Calibration | None = None
    calibration_algorithm: str = ""
    skip_unsupported: bool = False
    builds: int = 1
    io_formats: Mapping[str, str] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    program: str = ""
    program_format: str = ""


@dataclass(frozen=True)
class PlannedCell:
    """One cell of the matrix.

    Attributes:
        slug: of the device type.
        spec: what would be built.
        has_live_worker: whether somebody could build it now.
    """

    slug: str
    spec: BuildSpec
    has_live_worker: bool

    @property
    def label(self) -> str:
        """What people call it."""
        return cell_label(self.slug, self.spec.target.toolchain, self.spec.precision)


@dataclass(frozen=True)
class Plan:
    """What a request comes to.

    Attributes:
        cells: what can be built, in the order asked for.
        refused: what can not and is left out, with the reason: by `skip_unsupported`, or by devices that nobody named.
        batches: the batch sizes that will be measured.
        notes: what a user should know, such as options that do not apply everywhere.
    """

    cells: tuple[PlannedCell, ...]
    refused: tuple[tuple[str, str], ...]
    batches: tuple[int, ...]
    notes: tuple[str, ...]


def cell_label(slug: str, toolchain: ToolchainId, precision: str) -> str:
    """A cell for people: `nvidia-h200 · tensorrt 8.6.0 · fp16`."""
    return f"{slug} · {toolchain} · {precision}"


def plan_builds(transaction: Transaction, model: Model, request: BuildRequest) -> Plan:
    """Checks a request against the model, the fleet and the toolchains.

    Raises:
        InvalidSpecError: shapes, batches, options or precisions are wrong.
        UnsupportedTargetError: a device or toolchain is unknown, or can not do what is asked.
    """
    plan, unable = sort_cells(transaction, model, request)
    cells, refused = plan.cells, plan.refused
    # Nobody named these devices: all that are known means those that can.
    is_all = not request.gpus or ALL in request.gpus
    leaves_out = is_all and len(unable) == len(refused) and set(unable) <= {c.spec.precision for c in cells}
    if refused and not (cells and (request.skip_unsupported or leaves_out)):
        lines = "; ".join(f"{cell}: {reason}" for cell, reason in refused)
        raise UnsupportedTargetError(
            f"{len(refused)} of {len(refused) + len(cells)} cells can not be built, so nothing was queued. {lines}",
            hint="Ask for other precisions or targets, or leave these cells out with --skip-unsupported."
            if cells
            else "Ask for another precision or target.",
        )
    return plan


def sort_cells(transaction: Transaction, model: Model, request: BuildRequest) -> tuple[Plan, tuple[str, ...]]:
    """Which cells of a request can be built and which can not, whatever follows from that.

    Returns:
        A plan, which may be without cells; and the precisions that only the hardware of some device stands against,
        once for each such device.

    Raises:
        InvalidSpecError: shapes, batches, options or precisions are wrong.
        UnsupportedTargetError: a device or toolchain is unknown.
    """
    for precision in request.precisions:
        if precision not in PRECISIONS:
            raise InvalidSpecError(
                f"unknown precision {precision!r}", hint=did_you_mean(precision, PRECISIONS)
            )
    profiles, batches = _profiles(model, request)
    io_formats = canonical_io_formats(model, request.io_formats)
    targets = resolve_targets(transaction, request.gpus, request.toolchains)
    options, notes = _options_by_toolchain(request.options, [toolchain for _, _, toolchain in targets])
    live = {target for worker in transaction.fleet.workers() if worker.is_live for target in worker.targets}
    cells: list[PlannedCell] = []
    refused: list[tuple[str, str]] = []
    unable: list[str] = []
    for slug, target, toolchain in targets:
        for precision in dict.fromkeys(request.precisions):
            needs_samples = is_calibrated(precision, model, request.calibration)
            has_program = bool(request.program) and request.program_format in toolchain.model_formats
            reason = (
                (not has_program and why_not_format(toolchain, precision, options[toolchain.id], model))
                or toolchain.why_not(precision)
                or why_not_calibrated(
                    toolchain, precision, model, request.calibration, request.calibration_algorithm
                )
                or why_options_can_not(toolchain.id, precision, options[toolchain.id], request.builds)
                or toolchain.why_not_builds(request.builds)
                or why_not_io_formats(toolchain, model, precision, io_formats, is_calibrated=needs_samples)
                or toolchain.why_not_plugins(request.plugins)
            )
            by_device = why_device_can_not(target.device_type, precision) or why_model_can_not(
                target.toolchain, target.device_type, precision, model
            )
            if by_device and not reason:
                unable.append(precision)
            reason = reason or by_device
            if reason:
                refused.append((cell_label(slug, target.toolchain, precision), reason))
                continue
            calibration = request.calibration if needs_samples else None
            spec = BuildSpec(
                model_sha256=model.digest.sha256,
                target=target,
                precision=precision,
                builder_config=_config_of(options[toolchain.id], toolchain, precision, calibration, request),
                profiles=profiles,
                io_formats=io_formats,
                plugins=request.plugins,
                kept_layers=() if precision in _ALL_FP32 else tuple(sorted(set(request.kept_layers))),
                salt=request.salt,
                calibration=calibration,
                program=request.program if has_program else "",
            )
            cells.append(PlannedCell(slug, spec, target in live))
    return Plan(tuple(cells), tuple(refused), batches, tuple(notes)), tuple(unable)


def _config_of(
    options: Mapping[str, Any],
    toolchain: ToolchainDescription,
    precision: str,
    calibration: Calibration | None,
    request: BuildRequest,
) -> dict[str, Any]:
    """A cell's builder options: how to calibrate is one of cells alone that are calibrated, and FP8 has one way only."""
    rest = {name: value for name, value in options.items() if name != ALGORITHM_OPTION}
    if calibration is None or "fp8" in precision:
        return rest
    if not request.calibration_algorithm:
        return dict(options)
    return {**rest, **toolchain.normalise({ALGORITHM_OPTION: ALGORITHMS[request.calibration_algorithm]})}


def _profiles(
    model: Model, request: BuildRequest
) -> tuple[tuple[dict[str, ShapeRange], ...], tuple[int, ...]]:
    """The optimization profiles, and the batch sizes to measure, each of them inside one."""
    BenchmarkSpec(batches=request.batches)
    wished = (request.min_shapes, request.opt_shapes, request.max_shapes)
    profiles = profiles_from_wishes(model, *wished, request.batches)
    batches = tuple(dict.fromkeys(request.batches)) or usual_batches(model, profiles)
    for batch in batches:
        profile_at_batch(model, profiles, batch)
    return profiles, batches


def _options_by_toolchain(
    options: Mapping[str, Any], toolchains: Sequence[ToolchainDescription]
) -> tuple[dict[Any, dict[str, Any]], list[str]]:
    """Each toolchain's own options, canonical; one that no toolchain knows is an error."""
    chosen: dict[Any, dict[str, Any]] = {toolchain.id: {} for toolchain in toolchains}
    notes = []
    # The longer a scope, the more exact: what is said of one toolchain overrules what is said of all.
    for key, value in sorted(options.items(), key=lambda item: len(item[0].rpartition(":")[0])):
        scope, colon, name = key.partition(":")
        name, scope = (name, scope) if colon else (key, "")
        scoped = [t for t in toolchains if not scope or t.id.matches(scope)]
        takers = [t for t in scoped if name in {option.name for option in t.options}]
        if not scoped:
            raise InvalidSpecError(
                f"builder option {key!r} is for a toolchain that builds no cell here",
                hint=did_you_mean(scope, {t.id.name for t in toolchains}),
            )
        if not takers:
            known = {option.name for t in scoped for option in t.options}
            names = ", ".join(sorted({str(t.id) for t in scoped}))
            raise InvalidSpecError(
                f"no builder option {name!r} in {names}",
                hint=_where_it_is(scoped, name) or did_you_mean(name, known),
            )
        for toolchain in takers:
            chosen[toolchain.id][name] = value
        others = sorted({str(t.id) for t in scoped} - {str(t.id) for t in takers})
        if others:
            where = _where_it_is([t for t in scoped if t not in takers], name)
            notes.append(
                f"{name} does not exist in {', '.join(others)} and has no effect there"
                + (f": {where}" if where else "")
            )
    return {t.id: t.normalise(chosen[t.id]) for t in toolchains}, notes


def _where_it_is(toolchains: Sequence[ToolchainDescription], name: str) -> str:
    """Which releases have an option that these toolchains lack; empty if nobody knows of it."""
    return " ".join(dict.fromkeys(filter(None, (where_it_is(t.id, name) for t in toolchains))))
