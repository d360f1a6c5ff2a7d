"""Fetch the engine that fits, or say plainly why none does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farm.domain.baselines import ONLY_BASELINES
from farm.domain.errors import InvalidRequestError, NoEngineFitsError
from farm.domain.suggestions import did_you_mean
from farm.domain.targets import DeviceKind, DeviceType
from farm.services.model_names import model_label, newest_names
from farm.services.targets import match_devices, slugs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.domain.filing import Engine
    from farm.domain.targets import ToolchainId
    from farm.domain.work import ModelName
    from farm.services.ports import Transaction

#: So many engines are named where none fits.
_MOST_SHOWN = 5


@dataclass(frozen=True)
class FetchQuery:
    """Which engine is wanted.

    Attributes:
        model: `resnet50`, `resnet50@2` or a digest.
        device_types: the types that it must run on, best first: of this host, or none if `gpu` says.
        gpu: word for a device type; empty for this host's.
        toolchains: exact ones that this host has, or none if `toolchain` says or any will do.
        toolchain: word for a toolchain; empty for this host's.
        precision: empty if there is only one.
        engine_id: number of the very one that is wanted; 0 for the best that fits.
    """

    model: str
    device_types: tuple[DeviceType, ...] = ()
    gpu: str = ""
    toolchains: tuple[ToolchainId, ...] = ()
    toolchain: str = ""
    precision: str = ""
    engine_id: int = 0


@dataclass(frozen=True)
class Found:
    """What is handed out.

    Attributes:
        name: of the model.
        engine: the best that fits, or the very one that was asked for.
        others: engines that fit as well, the best first.
    """

    name: ModelName
    engine: Engine
    others: tuple[Engine, ...] = ()


def find_engine(transaction: Transaction, query: FetchQuery) -> Found:
    """The engine that fits; of several the one that is most surely what a user means (`_preference`).

    Raises:
        NotFoundError: no model has that name.
        NoEngineFitsError: engines exist, none fits; says which part of the key differs.
        InvalidRequestError: several precisions fit, so one must be named; or the engine that was asked for is of
            another model.
    """
    name = transaction.models.named(query.model)
    known = transaction.engines.engines(model_sha256=name.model_sha256, with_retired=True)
    engines = [engine for engine in known if engine.retired_at is None]
    slugs = slugs_of(transaction)
    wanted_types = _wanted_types(query, transaction.fleet.device_types())
    if query.engine_id:
        # The others only matter to whoever has not chosen.
        return Found(name, _asked_for(transaction, name, known, query, wanted_types, slugs))
    fitting = [engine for engine in engines if _misfits(engine, query, wanted_types) == []]
    retired = [e for e in known if e.retired_at is not None and _misfits(e, query, wanted_types) == []]
    if retired and not fitting:
        raise _is_retired(name, retired[-1], slugs)
    if not engines:
        raise NoEngineFitsError(
            f"no engine of {name} is built yet",
            hint=_older_versions(transaction, name)
            or "`farm submit` builds it; `farm status` shows what is under way.",
        )
    if not fitting:
        raise _no_fit(name, engines, query, wanted_types, slugs)
    precisions = sorted({engine.spec.precision for engine in fitting})
    if len(precisions) > 1:
        raise InvalidRequestError(
            f"{name.name} is built in several precisions that fit: {', '.join(precisions)}",
            hint=f"Name one: --precision {precisions[0]}. `farm engines {name.name}` compares them.",
        )
    order = {type_: position for position, type_ in enumerate(wanted_types)}
    fitting.sort(key=lambda e: (-order[e.spec.target.device_type], *_preference(e)), reverse=True)
    return Found(name, fitting[0], tuple(fitting[1:]))


def _preference(engine: Engine) -> tuple[Any, ...]:
    """Of two engines that fit, the one that has more of this is handed out."""
    spec = engine.spec
    return (
        engine.is_verified,
        # A refit stands in until the build behind it is done.
        not spec.refit_of,
        # Good for speed alone.
        spec.calibration is None or not spec.calibration.is_random,
        # May be what a tuning tried and did not choose.
        not spec.kept_layers,
        # Somebody's own build of what others share.
        not spec.salt,
        spec.target.toolchain.version_order,
        engine.created_at,
        engine.id,
    )


def _asked_for(
    transaction: Transaction,
    name: ModelName,
    known: Sequence[Engine],
    query: FetchQuery,
    types: Sequence[DeviceType],
    slugs: dict[DeviceType, str],
) -> Engine:
    """The engine of a number, checked like any other."""
    engine = transaction.engines.get(query.engine_id)
    if engine.id not in {one.id for one in known}:
        own = model_label(newest_names(transaction), engine.spec.model_sha256)
        raise InvalidRequestError(
            f"engine {engine.id} is none of {name}: it is of {own}",
            hint=f"`farm fetch {own} --engine {engine.id}` fetches it; `farm engines {name}` lists those of {name}.",
        )
    if engine.retired_at is not None:
        raise _is_retired(name, engine, slugs)
    if _misfits(engine, query, types):
        raise _no_fit(name, [engine], query, types, slugs)
    return engine


def host_device_types(own: Sequence[DeviceType]) -> tuple[DeviceType, ...]:
    """What engines this host's devices run: their own type, any GPU of their capability, then the CPU."""
    gpus = [type_ for type_ in own if type_.kind is DeviceKind.GPU]
    cpus = [type_ for type_ in own if type_.kind is DeviceKind.CPU]
    return (*gpus, *(DeviceType.any_of(type_.compute_capability) for type_ in gpus), *cpus)


def _wanted_types(query: FetchQuery, by_slug: dict[str, DeviceType]) -> tuple[DeviceType, ...]:
    if not query.gpu:
        return query.device_types
    return tuple(by_slug[slug] for slug in match_devices(by_slug, query.gpu))


def _misfits(engine: Engine, query: FetchQuery, types: Sequence[DeviceType]) -> list[str]:
    """The parts of an engine's key that differ from what is wanted."""
    spec = engine.spec
    found = []
    if spec.target.device_type not in types:
        found.append("device")
    here = {(id_.name, id_.version) for id_ in query.toolchains}
    if query.toolchain:
        if not spec.target.toolchain.matches(query.toolchain):
            found.append("toolchain")
    elif spec.target.toolchain.name in ONLY_BASELINES:
        # What engines are compared with is handed out to whoever names it.
        found.append("toolchain")
    elif (
        spec.target.toolchain.name in {name for name, _ in here}
        and (spec.target.toolchain.name, spec.target.toolchain.version) not in here
    ):
        # Only for a toolchain that this host has in another version: it would not load the engine.
        found.append("toolchain")
    if query.precision and spec.precision != query.precision:
        found.append("precision")
    return found


def _no_fit(
    name: ModelName,
    engines: Sequence[Engine],
    query: FetchQuery,
    types: Sequence[DeviceType],
    slugs: dict[DeviceType, str],
) -> NoEngineFitsError:
    """Says what exists, the nearest first, and which part of its key differs."""
    nearest = sorted(engines, key=lambda engine: (len(_misfits(engine, query, types)), -engine.id))
    # Engines that differ in shapes or options alone look the same here.
    lines = list(
        dict.fromkeys(
            f"{slugs[engine.spec.target.device_type]} · {engine.spec.target.toolchain} · {engine.spec.precision}"
            f" (differs in {' and '.join(_misfits(engine, query, types))})"
            for engine in nearest
        )
    )
    more = [f"and {len(lines) - _MOST_SHOWN} more"] if len(lines) > _MOST_SHOWN else []
    wanted = " or ".join(slugs.get(type_, type_.slug) for type_ in types) or f"unknown GPU {query.gpu!r}"
    toolchain = query.toolchain or " or ".join(map(str, query.toolchains))
    asked = " · ".join(filter(None, [wanted, toolchain, query.precision]))
    there = "; ".join([*lines[:_MOST_SHOWN], *more])
    if query.engine_id:
        return NoEngineFitsError(
            f"engine {query.engine_id} of {name} does not fit {asked}: it is {there}",
            hint=f"`farm fetch {name} --engine {query.engine_id}{_its_options(nearest[0], query, types, slugs)}` "
            "fetches it for where it fits.",
        )
    if query.gpu and not types:
        hint = did_you_mean(query.gpu, slugs.values())
    else:
        hint = f"`farm submit` builds one that fits; `farm engines {name.name}` lists all there are."
    return NoEngineFitsError(f"no engine of {name} fits {asked}; there are: {there}", hint=hint)


def _its_options(
    engine: Engine, query: FetchQuery, types: Sequence[DeviceType], slugs: dict[DeviceType, str]
) -> str:
    """The options that ask for the target of an engine where they differ from what was asked for."""
    target, misfits = engine.spec.target, _misfits(engine, query, types)
    device = f" --gpu {slugs[target.device_type]}" if query.gpu or "device" in misfits else ""
    release = f" --toolchain {target.toolchain.name}@{target.toolchain.version}"
    return device + (release if query.toolchain or "toolchain" in misfits else "")


def _is_retired(name: ModelName, engine: Engine, slugs: dict[DeviceType, str]) -> NoEngineFitsError:
    assert engine.retired_at is not None  # noqa: S101 - chosen by it
    spec = engine.spec
    return NoEngineFitsError(
        f"the engine of {name} for {slugs[spec.target.device_type]} · "
        f"{spec.target.toolchain} · {spec.precision} was retired on {engine.retired_at:%Y-%m-%d %H:%M} UTC: "
        f"its bytes are gone",
        hint="`farm submit` builds it anew; `farm pin` keeps an engine from being retired.",
    )


def _older_versions(transaction: Transaction, name: ModelName) -> str:
    for older in reversed(transaction.models.names()):
        if older.name == name.name and older.version < name.version:
            count = len(transaction.engines.engines(model_sha256=older.model_sha256))
            if count:
                return f"Version {older.version} has {count} engine(s): ask for {name.name}@{older.version}."
    return ""
