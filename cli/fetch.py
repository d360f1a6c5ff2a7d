"""`farm fetch`: the engine that fits this machine, or another."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.context import json_option, opened
from cli.engine_remarks import profile_text, remarks
from cli.render import show_json, show_line, show_note, size
from cli.tables import engine_as_json

if TYPE_CHECKING:
    from farm.domain.filing import Engine
    from farm.domain.models import Model
    from farm.domain.targets import Device
    from farm.services.fetch import FetchQuery, Found

#: So many of the other engines that fit are named.
_MOST_SHOWN = 5


@click.command(short_help="Get the engine that fits this machine, or another.")
@click.argument("model")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write. [default: MODEL.engine]",
)
@click.option("--gpu", help="For this device type instead of this machine's: h200, cpu, …")
@click.option(
    "--toolchain", help="For this toolchain: tensorrt, tensorrt@8.6, … [default: what this machine has]"
)
@click.option("--precision", help="fp32, tf32, fp16, … [default: the only one there is]")
@click.option(
    "--engine",
    "which",
    metavar="NUMBER|DIGEST",
    help="This very engine, as `farm engines` numbers it, if it fits. [default: the best of those that fit]",
)
@click.option(
    "--manifest",
    "manifest_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the signed manifest there, for `farm verify`.",
)
@click.option(
    "--allow-unsigned",
    is_flag=True,
    help="Hand out an engine that a release before 0.2 filed without a signature.",
)
@click.option("--dry-run", is_flag=True, help="Say which engine fits, and stop.")
@json_option
@click.pass_context
def fetch(
    ctx: click.Context,
    model: str,
    output: Path | None,
    gpu: str | None,
    toolchain: str | None,
    precision: str | None,
    which: str | None,
    manifest_path: Path | None,
    allow_unsigned: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Get the engine of MODEL (`resnet50`, `resnet50@2`) that fits the device and toolchain of this machine.

    The file appears complete and verified, or not at all: a worker that this farm trusts has signed just these
    bytes for just this key. Where nothing fits, the message says what exists
    and which part of the key differs. Where several fit, a verified one goes before others, then a full build
    before a refit, one without random calibration, without layers kept in FP32, without a salt, and the newest.

    \b
    farm fetch resnet50 --precision fp16 -o resnet50.engine
    farm fetch resnet50 --gpu l4 --toolchain tensorrt@10.3
    farm fetch resnet50 --engine 12
    """
    from farm.bootstrap import open_trusted_keys
    from farm.domain.io_formats import IO_SCALES
    from farm.services.fetch import find_engine
    from farm.services.targets import slugs_of
    from farm.services.trust import check_fetched

    farm = opened(ctx)
    query = _query(model, gpu or "", toolchain or "", (precision or "").lower())
    with farm.database.reading() as transaction:
        if which is not None:
            query = replace(query, engine_id=transaction.garbage.engine_id(which))
        found = find_engine(transaction, query)
        name, engine = found.name, found.engine
        known_model = transaction.models.get(name.model_sha256)
        slugs = slugs_of(transaction)
        libraries = [transaction.engines.artifact(sha256) for sha256 in engine.spec.plugins]
    path = output or Path(f"{name.name.rsplit('/', 1)[-1]}.engine")
    if engine.signed is not None or not allow_unsigned:
        check_fetched(engine, name, open_trusted_keys(farm))
    manifest = _manifest_text(engine) if manifest_path else ""
    # Their digests are in the engine's key, which the manifest signs.
    plugins = [path.with_name(f"{path.stem}.plugin-{library.short}.so") for library in libraries]
    if not dry_run:
        farm.store.fetch(engine.digest, path.absolute())
        for library, place in zip(libraries, plugins, strict=True):
            farm.store.fetch(library, place.absolute())
        if manifest_path is not None:
            _write(manifest_path, manifest)
    if as_json:
        document = engine_as_json(engine, slugs)
        show_json(
            {
                "path": None if dry_run else str(path),
                "plugins": [] if dry_run else list(map(str, plugins)),
                "model": name.name,
                "version": name.version,
                "others": [other.id for other in found.others],
                **document,
            }
        )
        return
    spec = engine.spec
    what = (
        f"{name} · {slugs[spec.target.device_type]} · {spec.target.toolchain} · {spec.precision}"
        f" · {size(engine.digest.size_bytes)} · sha256 {engine.digest.short}… · {_own_words(engine, known_model)}"
    )
    show_line(what if dry_run else f"{path}: {what}")
    for place in plugins:
        show_line(f"{place}: a plugin library, to be loaded before the engine")
    for tensor, wanted in spec.io_formats.items():
        scale = engine.details.get(IO_SCALES, {}).get(tensor)
        show_line(f"{tensor}: {wanted}" + (f", one step is {scale:g}" if scale else ""))
    if spec.refit_of:
        show_note(
            f"note: the weights of engine {spec.refit_of[:12]}… were replaced in it; the full build is handed out once "
            "it is there"
        )
    _tell_others(found, known_model, model)
    if spec.calibration is not None and spec.calibration.is_random:
        show_note("warning: this engine is calibrated with random samples: for speed alone")
    if engine.signed is None:
        show_note("warning: nobody has signed this engine")
    if not engine.is_verified:
        how = "is unverified" if engine.was_run else "was never run"
        show_note(f"warning: this engine {how}: {engine.unverified_reason}")


def _own_words(engine: Engine, model: Model) -> str:
    """Its number, and what tells it from others of its target and precision."""
    words = [*filter(None, [profile_text(engine.spec, model)]), *remarks(engine.spec)]
    return f"engine {engine.id}" + (f" ({', '.join(words)})" if words else "")


def _tell_others(found: Found, model: Model, word: str) -> None:
    if not found.others:
        return
    own = found.engine.spec.target
    lines = []
    for other in found.others[:_MOST_SHOWN]:
        # Most often they are for the same device and toolchain.
        elsewhere = "" if other.spec.target == own else f" for {other.spec.target.toolchain}"
        unverified = "" if other.is_verified else ", unverified"
        lines.append(f"{_own_words(other, model)}{elsewhere}{unverified}")
    count = len(found.others)
    more = [f"and {count - _MOST_SHOWN} more"] if count > _MOST_SHOWN else []
    show_note(
        f"note: {count} other engine{'s fit' if count > 1 else ' fits'} too: {'; '.join([*lines, *more])}. "
        f"`farm fetch {word} --engine {found.others[0].id}` takes that one instead"
    )


def _manifest_text(engine: Engine) -> str:
    from farm.domain.errors import InvalidRequestError

    if engine.signed is None:
        raise InvalidRequestError(
            "this engine has no manifest", hint="Submit the model again: it is built anew."
        )
    return json.dumps(engine.signed.as_json(), indent=2) + "\n"


def _write(path: Path, text: str) -> None:
    from farm.domain.errors import InvalidRequestError

    try:
        path.write_text(text)
    except OSError as error:
        raise InvalidRequestError(f"{path} can not be written: {error.strerror}") from error


def _query(model: str, gpu: str, toolchain: str, precision: str) -> FetchQuery:
    from farm.domain.errors import InvalidSpecError
    from farm.domain.precisions import PRECISIONS
    from farm.domain.suggestions import did_you_mean
    from farm.domain.targets import parse_toolchain
    from farm.services.fetch import FetchQuery, host_device_types

    if toolchain:
        parse_toolchain(toolchain)
    if precision and precision not in PRECISIONS:
        raise InvalidSpecError(f"unknown precision {precision!r}", hint=did_you_mean(precision, PRECISIONS))
    if gpu:
        return FetchQuery(model, gpu=gpu, toolchain=toolchain, precision=precision)
    from workers.devices import discover_devices
    from workers.installed import installed_toolchains

    devices: list[Device] = discover_devices()
    return FetchQuery(
        model,
        device_types=host_device_types([device.device_type for device in devices]),
        toolchains=() if toolchain else installed_toolchains(),
        toolchain=toolchain,
        precision=precision,
    )
