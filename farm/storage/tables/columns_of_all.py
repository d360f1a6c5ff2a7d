"""What several tables have."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, MetaData, String

from farm.storage.columns import AnyText

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def one_of(column: str, values: type, *, optional: bool = False) -> CheckConstraint:
    """A check that a column holds a name of an enumeration."""
    names = ", ".join(f"'{member.value}'" for member in values)  # type: ignore[attr-defined]
    extra = f" OR {column} = ''" if optional else ""
    return CheckConstraint(f"{column} IN ({names}){extra}", name=f"{column}_known")


def failure_columns() -> list[Column[str]]:
    """Why a job or an attempt ended without an engine."""
    return [
        Column("failure_class", String(16), nullable=False, server_default=""),
        Column("failure_code", AnyText, nullable=False, server_default=""),
        Column("failure_message", AnyText, nullable=False, server_default=""),
        Column("failure_hint", AnyText, nullable=False, server_default=""),
        Column("failure_phase", String(16), nullable=False, server_default=""),
    ]
