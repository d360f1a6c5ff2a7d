"""The composition root: from settings to a farm with a database and a store. Nothing runs at import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.domain.errors import DatabaseUnavailableError, FarmError, NotFoundError
from farm.storage.artifact_folder import ArtifactFolder
from farm.storage.database import SqlDatabase
from farm.storage.schema import check_schema, current_revision, is_blank, upgrade

if TYPE_CHECKING:
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
    store = ArtifactFolder(settings.store)
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
    except FarmError:
        database.close()
        raise
    return Farm(settings, database, store)


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
        if before is None:
            ArtifactFolder(settings.store).create()
        upgrade(database, revision)
        return before, current_revision(database)
    finally:
        database.close()


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
