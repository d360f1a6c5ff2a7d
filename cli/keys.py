"""`farm keys`: the keys that sign engines, and whose signatures count."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.context import json_option, opened
from cli.render import show_json, show_line, show_table
from farm.domain.errors import FarmError

if TYPE_CHECKING:
    from farm.storage.signing import PublicKey

_NOTE = click.option("--note", default="", help="Whose key it is, for people.")


@click.group(short_help="Make, list, trust and revoke the keys that sign engines.")
def keys() -> None:
    """The keys that sign engines.

    Every worker of a fleet signs what it builds with the private key in the file that FARM_SIGNING_KEY names.
    A farm of one host makes its own. Engines count whose key is trusted here, or stands in the file that
    FARM_TRUSTED_KEYS names.

    \b
    farm keys new /etc/farm/signing.key --trust --note "GPU hosts"
    farm keys list
    """


@keys.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--trust", "is_trusted", is_flag=True, help="Trust it at once in this farm's database.")
@_NOTE
@json_option
@click.pass_context
def new(ctx: click.Context, file: Path, is_trusted: bool, note: str, as_json: bool) -> None:
    """Make a private key in FILE, which only its owner may read, and print its public key.

    \b
    farm keys new /etc/farm/signing.key --trust
    """
    from farm.storage.signing import make_signer

    # Before the key: one that can not be trusted would lie about.
    farm = opened(ctx) if is_trusted else None
    key = make_signer(file.absolute()).public_key
    if farm is not None:
        try:
            with farm.database.transaction() as transaction:
                transaction.keys.add(key.id, str(key), note)
        except FarmError:
            file.unlink()
            raise
    if as_json:
        show_json({"file": str(file), "id": key.id, "public_key": str(key), "trusted": is_trusted})
        return
    show_line(f"{file}: key {key.id[:12]}{', trusted here' if is_trusted else ''}")
    show_line(str(key))


@keys.command("list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List the keys whose signatures count, and those that count no more.

    \b
    farm keys list
    """
    from farm.bootstrap import open_trusted_keys
    from farm.storage.signing import read_public_keys

    farm = opened(ctx)
    file = farm.settings.trusted_keys
    trusted = open_trusted_keys(farm)
    with farm.database.reading() as transaction:
        known = {key.id: key for key in transaction.keys.all()}
    listed = {key.id: str(key) for key in read_public_keys(file)} if file else {}
    documents: list[dict[str, Any]] = [
        {
            "id": key_id,
            "public_key": listed.get(key_id) or known[key_id].public_key,
            "counts": key_id in trusted,
            "revoked_at": known[key_id].revoked_at if key_id in known else None,
            "note": known[key_id].note if key_id in known else f"in {file}",
        }
        for key_id in {**known, **listed}
    ]
    if as_json:
        show_json(documents)
        return
    show_table(
        ["key", "counts", "revoked", "note", "public key"],
        [
            (d["id"][:12], "yes" if d["counts"] else "no", d["revoked_at"], d["note"], d["public_key"])
            for d in documents
        ],
        empty="No key yet: `farm up` makes one for a farm of one host, `farm keys new` for a fleet.",
    )


@keys.command()
@click.argument("key")
@_NOTE
@json_option
@click.pass_context
def trust(ctx: click.Context, key: str, note: str, as_json: bool) -> None:
    """Trust KEY, a public key (ed25519:…) or a file with one a line.

    \b
    farm keys trust ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo= --note gpu07
    """
    from farm.domain.errors import ConflictError

    farm = opened(ctx)
    wanted = _public_keys(key)
    with farm.database.transaction() as transaction:
        revoked = {known.id for known in transaction.keys.all() if known.revoked_at is not None}
        for each in wanted:
            if each.id in revoked:
                raise ConflictError(
                    f"the key {each.id[:12]} was revoked, and that is for good",
                    hint="`farm keys new FILE --trust` makes another.",
                )
            transaction.keys.add(each.id, str(each), note)
    if as_json:
        show_json([{"id": each.id, "public_key": str(each)} for each in wanted])
        return
    for each in wanted:
        show_line(f"trusted: {each.id[:12]}")


@keys.command()
@click.argument("key_id", metavar="ID")
@json_option
@click.pass_context
def revoke(ctx: click.Context, key_id: str, as_json: bool) -> None:
    """Make every signature of the key ID count no more, for good: its engines are not handed out any longer.

    \b
    farm keys revoke 3f1c
    """
    with opened(ctx).database.transaction() as transaction:
        whole = transaction.keys.revoke(key_id)
    if as_json:
        show_json({"id": whole})
        return
    show_line(f"revoked: {whole[:12]}; what it signed is built anew when it is submitted again")


def _public_keys(word: str) -> list[PublicKey]:
    from farm.domain.errors import InvalidRequestError
    from farm.storage.signing import PublicKey, read_public_keys

    if word.startswith("ed25519:"):
        return [PublicKey.parse(word)]
    found = read_public_keys(Path(word))
    if not found:
        raise InvalidRequestError(f"{word} holds no public key")
    return found
