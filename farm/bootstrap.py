"""The composition root: from settings to a farm with a database and a store. Nothing runs at import."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.domain.errors import (
    ConflictError,
    DatabaseUnavailableError,
    FarmError,
    InvalidRequestError,
    NotFoundError,
)
from farm.domain.stores import BucketUrl
from farm.failpoints import arm
from farm.storage.artifact_bucket import ArtifactBucket
from farm.storage.artifact_folder import ArtifactFolder
from farm.storage.database import SqlDatabase
from farm.storage.schema import check_schema, current_revision, is_blank, upgrade
from farm.storage.signing import PublicKey, Signer, TrustedKeys, make_signer, read_public_keys, read_signer

if TYPE_CHECKING:
    from pathlib import Path

    from farm.services.ports import ArtifactStore, Database
    from farm.settings import Settings


@dataclass(frozen=True)
class Farm:
    """An open farm.

    Attributes:
        settings: where it lives.
        database: the truth.
        store: the bytes.
    """

    settings: Settings
    database: Database
    store: ArtifactStore


def open_farm(settings: Settings, *, create: bool = True) -> Farm:
    """Opens the farm of the settings; an embedded one is made where there is none.

    Args:
        settings: where it lives.
        create: whether a new embedded farm may be made.

    Raises:
        DatabaseUnavailableError: the database can not be reached or written.
        SchemaVersionError: the database is on another schema than this release.
        StoreUnavailableError: the store can not be made.
        NotFoundError: there is no farm, and none may be made.
    """
    arm(settings.failpoints)
    store = open_store(settings)
    path = settings.sqlite_path
    if path is not None and not create and not path.exists():
        raise NotFoundError(
            f"there is no farm in {settings.home}",
            hint="`farm up` or `farm submit --local` makes one"
            + (f"; the demo's is `farm --home {settings.home / 'demo'} …`." if _has_demo(settings) else "."),
        )
    database = open_database(settings)
    try:
        # Blank as well where a creation was killed, or is under way in another process: `upgrade` waits for it.
        if path is not None and create and is_blank(database):
            # Before the tables: a farm that has them has a store, so a missing one is a fault.
            store.create()
            upgrade(database)
        check_schema(database)
        farm = Farm(settings, database, store)
        if create and makes_own_key(settings) and not _own_key_file(settings).exists():
            _make_own_key(farm)
    except FarmError:
        database.close()
        raise
    return farm


def makes_own_key(settings: Settings) -> bool:
    """Whether the farm lives on one host and nobody named a key for it: then it makes its own."""
    return settings.signing_key is None and settings.sqlite_path is not None


def open_signer(farm: Farm) -> Signer:
    """The private key of this host's workers; a farm of one host makes its own.

    Raises:
        InvalidRequestError: a fleet's worker has no key, or one that others may read.
        ConflictError: nobody would trust what is signed with it.
        StoreUnavailableError: the key of a farm of one host can not be written.
    """
    settings, path = farm.settings, farm.settings.signing_key
    if path is not None:
        signer = read_signer(path)
    elif makes_own_key(settings):
        signer = _make_own_key(farm)
    else:
        raise InvalidRequestError(
            "this worker has no key to sign engines with",
            hint="FARM_SIGNING_KEY names its file; `farm keys new FILE --trust` makes one.",
        )
    check_signer(farm, signer)
    return signer


def check_signer(farm: Farm, signer: Signer) -> None:
    """Refuses a key whose signatures do not count now.

    Raises:
        ConflictError: nobody trusts it, or it was revoked.
        InvalidRequestError: the file of FARM_TRUSTED_KEYS can not be read.
        DatabaseUnavailableError: nobody can say.
    """
    settings = farm.settings
    path = settings.signing_key or _own_key_file(settings)
    trusted = open_trusted_keys(farm)
    key_id = signer.public_key.id
    if key_id in trusted.revoked:
        raise ConflictError(
            f"the signing key {path} ({key_id[:12]}) is revoked",
            hint="Remove the file: the farm makes another."
            if makes_own_key(settings)
            else "`farm keys new FILE --trust` makes another for FARM_SIGNING_KEY.",
        )
    if key_id not in trusted:
        raise ConflictError(
            f"nobody trusts the signing key {path} ({key_id[:12]})",
            hint=f"Add {signer.public_key} to the file of FARM_TRUSTED_KEYS."
            if settings.trusted_keys
            else f"`farm keys trust {signer.public_key}` makes its engines count.",
        )


def open_trusted_keys(farm: Farm) -> TrustedKeys:
    """The keys whose signatures count: of the file of FARM_TRUSTED_KEYS alone, or else those in SQL.

    A key that SQL says is revoked counts in neither: whoever can write there can take trust away, and with
    the file never give it.

    Raises:
        InvalidRequestError: the file can not be read.
        DatabaseUnavailableError: the database can not be reached.
    """
    with farm.database.reading() as transaction:
        known = transaction.keys.all()
    revoked = {key.id for key in known if key.revoked_at is not None}
    if farm.settings.trusted_keys is not None:
        return TrustedKeys(read_public_keys(farm.settings.trusted_keys), revoked)
    keys = []
    for key in known:
        # A row that somebody spoiled is no key; the others still count.
        with suppress(InvalidRequestError):
            keys.append(PublicKey.parse(key.public_key))
    return TrustedKeys(keys, revoked)


def _own_key_file(settings: Settings) -> Path:
    return settings.home / "signing.key"


def _make_own_key(farm: Farm) -> Signer:
    """The key of a farm of one host, made and trusted where that was not done before."""
    path = _own_key_file(farm.settings)
    try:
        signer = read_signer(path) if path.exists() else make_signer(path)
    except ConflictError:
        # Another process made it at the same moment.
        signer = read_signer(path)
    key = signer.public_key
    with farm.database.reading() as transaction:
        is_known = any(known.id == key.id for known in transaction.keys.all())
    if not is_known:
        with farm.database.transaction() as transaction:
            transaction.keys.add(key.id, str(key), f"made by {farm.settings.host}")
    return signer


def make_farm(settings: Settings, revision: str = "head") -> tuple[str | None, str | None]:
    """Brings the database to a schema, and makes the store of a fleet or of a new embedded farm.

    The one command that makes a fleet's store: anywhere else a missing one is a fault, such as a share
    that is not mounted.

    Returns:
        The schema before and after.

    Raises:
        DatabaseUnavailableError: the database can not be reached or written.
        StoreUnavailableError: the store can not be made.
    """
    database = open_database(settings)
    try:
        before = current_revision(database)
        # A bucket is never one that somebody forgot to mount, and a farm may move into one.
        if before is None or isinstance(settings.store, BucketUrl):
            open_store(settings).create()
        upgrade(database, revision)
        return before, current_revision(database)
    finally:
        database.close()


def open_store(settings: Settings) -> ArtifactFolder | ArtifactBucket:
    """The artifact store of the settings; whether it answers is not looked at yet.

    Raises:
        InvalidRequestError: a bucket, and no obstore or variables that make no sense.
    """
    if isinstance(settings.store, BucketUrl):
        return ArtifactBucket(settings.store, settings.store_access)
    return ArtifactFolder(settings.store)


def _has_demo(settings: Settings) -> bool:
    return (settings.home / "demo" / "farm.db").exists()


def open_database(settings: Settings) -> SqlDatabase:
    """The database alone, whatever its schema: for `farm db` and `farm doctor`.

    Raises:
        DatabaseUnavailableError: the folder of an embedded farm can not be made.
    """
    path = settings.sqlite_path
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseUnavailableError(
                f"the farm's folder {path.parent} can not be made: {error.strerror}",
                hint="Choose another with FARM_HOME or --home.",
            ) from error
    return SqlDatabase(settings.database_url, busy_s=settings.busy_s)
