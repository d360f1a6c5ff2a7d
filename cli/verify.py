"""`farm verify`: whether a file is the engine that its manifest says, without a database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.context import json_option, opened, settings_of
from cli.render import show_json, show_line, size

if TYPE_CHECKING:
    from farm.domain.manifests import SignedManifest
    from farm.storage.signing import TrustedKeys

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
#: A manifest has a kilobyte.
_LARGEST_BYTES = 1 << 20


@click.command(short_help="Check an engine's file against its signed manifest.")
@click.argument("engine_file", type=_FILE)
@click.argument("manifest", type=_FILE)
@click.option(
    "--trusted-keys",
    type=_FILE,
    help="File of public keys, one a line. [default: FARM_TRUSTED_KEYS, else the keys of the farm]",
)
@json_option
@click.pass_context
def verify(
    ctx: click.Context, engine_file: Path, manifest: Path, trusted_keys: Path | None, as_json: bool
) -> None:
    """Check that ENGINE_FILE holds just the bytes that a trusted worker signed in MANIFEST.

    An engine is a program: load none that this refuses. With a file of trusted keys nothing else is needed,
    neither a database nor a network.

    \b
    farm fetch resnet50 -o resnet50.engine --manifest resnet50.json
    farm verify resnet50.engine resnet50.json --trusted-keys farm.pub
    """
    from farm.domain.digests import digest_of_file
    from farm.services.trust import check_bytes

    found = check_bytes(_read(manifest), digest_of_file(engine_file), _keys(ctx, trusted_keys))
    if as_json:
        show_json({"path": str(engine_file), "verified": True, **found.as_json()})
        return
    show_line(
        f"{engine_file}: {found.toolchain} · {found.device_type.slug} · {found.precision}"
        f" · {size(found.engine.size_bytes)} · built by {found.worker_id} on {found.host}"
        f" (job {found.job_id}, attempt {found.attempt}) at {found.made_at}"
    )


def _keys(ctx: click.Context, file: Path | None) -> TrustedKeys:
    from farm.bootstrap import open_trusted_keys
    from farm.storage.signing import TrustedKeys, read_public_keys

    file = file or settings_of(ctx).trusted_keys
    if file is not None:
        return TrustedKeys(read_public_keys(file))
    return open_trusted_keys(opened(ctx))


def _read(path: Path) -> SignedManifest:
    from farm.domain.errors import UntrustedEngineError
    from farm.domain.manifests import SignedManifest

    with path.open("rb") as stream:
        data = stream.read(_LARGEST_BYTES + 1)
    try:
        value = json.loads(data) if len(data) <= _LARGEST_BYTES else None
    except (ValueError, RecursionError) as error:
        raise UntrustedEngineError(
            f"{path} is not a signed manifest: {error}", hint="`farm fetch MODEL --manifest FILE` writes one."
        ) from error
    return SignedManifest.from_json(value)
