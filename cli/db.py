"""`farm db`: the schema's version."""

from __future__ import annotations

import click

from cli.context import json_option, settings_of
from cli.render import show_json, show_line, show_note


@click.group(short_help="Upgrade the database's schema, or show its version.")
def db() -> None:
    """The schema of the database.

    \b
    farm db current
    farm db upgrade
    """


@db.command()
@json_option
@click.pass_context
def current(ctx: click.Context, as_json: bool) -> None:
    """Show which schema the database is on, and which this release needs.

    \b
    farm db current
    """
    from farm.bootstrap import open_database
    from farm.storage.database import hide_password
    from farm.storage.schema import HEAD, current_revision

    database = open_database(settings_of(ctx))
    found = current_revision(database)
    if as_json:
        show_json({"database": hide_password(database.url), "current": found, "wanted": HEAD})
        return
    state = "up to date" if found == HEAD else f"this release needs {HEAD}: run `farm db upgrade`"
    show_line(f"{hide_password(database.url)}: {found or 'no tables'} ({state})")


@db.command()
@click.argument("revision", default="head")
@json_option
@click.pass_context
def upgrade(ctx: click.Context, revision: str, as_json: bool) -> None:
    """Move the database's schema up to REVISION, by default to the newest; of a new farm, make the store too.

    \b
    farm db upgrade
    """
    from farm.bootstrap import make_farm
    from farm.storage.grants import CREATE_ROLES

    before, after = make_farm(settings_of(ctx), revision)
    if as_json:
        show_json({"before": before, "after": after})
    else:
        show_line(f"{before or 'no tables'} → {after}")
    if missing := _missing_roles(ctx):
        show_note(
            f"SQL roles that could not be made: {', '.join(missing)}. Let an administrator run:\n  {CREATE_ROLES}\n"
            "and run `farm db upgrade` again, which gives them their rights."
        )


def _missing_roles(ctx: click.Context) -> list[str]:
    from farm.bootstrap import open_database
    from farm.storage.schema import missing_sql_roles

    database = open_database(settings_of(ctx))
    try:
        return missing_sql_roles(database)
    finally:
        database.close()
