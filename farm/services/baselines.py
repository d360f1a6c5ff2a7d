"""Baselines beside a plan's engines: the same model, devices, shapes and batches, run by what a user has anyway."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from farm.domain.baselines import ONLY_BASELINES
from farm.domain.errors import UnsupportedTargetError
from farm.domain.targets import DeviceKind
from farm.services.plan import sort_cells
from farm.services.targets import ALL, slugs_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farm.domain.baselines import Baseline
    from farm.domain.models import Model
    from farm.domain.targets import DeviceType
    from farm.services.plan import BuildRequest, Plan
    from farm.services.ports import Transaction

_HOW = (
    "start the worker of that device with --toolchain-python PYTHON, an interpreter that has {package}; "
    "docs/baselines.md says which"
)
_PACKAGES = {"onnxruntime-cuda": "onnxruntime-gpu", "onnxruntime": "onnxruntime"}


def engine_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Builder options without those that are for a baseline alone, such as `torch-compile:mode`."""
    return {key: value for key, value in options.items() if not _is_for_baseline(key)}


def with_baselines(
    transaction: Transaction, model: Model, request: BuildRequest, plan: Plan, baselines: Sequence[Baseline]
) -> Plan:
    """The plan with a cell for every baseline on every device that the plan builds for.

    Args:
        transaction: to look at the fleet.
        model: of the submission.
        request: as for the engines, with the options of all.
        plan: of the engines.
        baselines: what they are to be compared with.

    Raises:
        UnsupportedTargetError: one can not be had on a device that somebody named, or on none of those that nobody did.
    """
    cells, notes = list(plan.cells), list(plan.notes)
    known = {cell.spec.digest.sha256 for cell in cells}
    missing: list[tuple[str, str]] = []
    served = transaction.fleet.known_targets()
    for baseline in baselines:
        devices = _devices(transaction, plan, baseline)
        if not devices:
            missing.append((baseline.word, "nothing is built for a device that runs it"))
        is_possible = False
        for slug, device_type in devices:
            if not any((at, id_.name) == (device_type, baseline.toolchain) for at, id_ in served):
                package = _PACKAGES.get(baseline.toolchain, "torch")
                reason = f"no {baseline.toolchain} has served it yet: {_HOW.format(package=package)}"
                missing.append((f"{slug} · {baseline.word}", reason))
                continue
            own, _ = sort_cells(transaction, model, _wish(request, baseline, slug))
            missing += own.refused
            # ONNX Runtime on a CPU may be among the engines already.
            cells += [cell for cell in own.cells if cell.spec.digest.sha256 not in known]
            notes += [note for note in own.notes if note not in notes]
            is_possible = is_possible or bool(own.cells)
        if not is_possible and not request.skip_unsupported:
            raise _refusal(missing)
    # Nobody named these devices: all that are known means those that can.
    is_all = not request.gpus or ALL in request.gpus
    if missing and not (request.skip_unsupported or is_all):
        raise _refusal(missing)
    return replace(plan, cells=tuple(cells), refused=(*plan.refused, *missing), notes=tuple(notes))


def _devices(transaction: Transaction, plan: Plan, baseline: Baseline) -> list[tuple[str, DeviceType]]:
    """The devices that a plan builds for, or all CPUs for what runs on CPUs alone; engines ahead of time have none."""
    built_for = dict.fromkeys((cell.slug, cell.spec.target.device_type) for cell in plan.cells)
    devices = [pair for pair in built_for if pair[1].kind is not DeviceKind.COMPUTE_CAPABILITY]
    if not baseline.on_cpu:
        return [pair for pair in devices if not (baseline.on_gpu and _is_cpu(pair))]
    every = [(slug, device_type) for device_type, slug in slugs_of(transaction).items()]
    return [pair for pair in devices if _is_cpu(pair)] or [pair for pair in every if _is_cpu(pair)]


def _is_cpu(device: tuple[str, DeviceType]) -> bool:
    return device[1].kind is DeviceKind.CPU


def _wish(request: BuildRequest, baseline: Baseline, slug: str) -> BuildRequest:
    """What is asked of one baseline on one device: the model as it is, at the same shapes."""
    return replace(
        request,
        gpus=(slug,),
        toolchains=(baseline.toolchain,),
        precisions=(baseline.precision,),
        options={key: value for key, value in request.options.items() if _scope(key) == baseline.toolchain},
        kept_layers=(),
        calibration=None,
        calibration_algorithm="",
        io_formats={},
        plugins=(),
        builds=1,
    )


def _is_for_baseline(key: str) -> bool:
    return _scope(key) in ONLY_BASELINES


def _scope(key: str) -> str:
    """`torch-compile` of `torch-compile@2.13:mode`; empty of an option for all."""
    scope, colon, _ = key.partition(":")
    return scope.partition("@")[0] if colon else ""


def _refusal(missing: Sequence[tuple[str, str]]) -> UnsupportedTargetError:
    lines = "; ".join(f"{cell}: {reason}" for cell, reason in missing)
    return UnsupportedTargetError(
        f"{len(missing)} baseline(s) can not be measured, so nothing was queued. {lines}",
        hint="Leave them out of --baseline, or add --skip-unsupported to go without them.",
    )
