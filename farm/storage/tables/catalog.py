"""What there is to build, and what to build it for and with."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    text,
)

from farm.domain.targets import DeviceKind
from farm.storage.columns import AnyText, JsonDocument, UtcDateTime
from farm.storage.tables.columns_of_all import metadata, one_of

artifacts = Table(
    "artifacts",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # When garbage collection took its bytes out of the store.
    Column("deleted_at", UtcDateTime),
    CheckConstraint("size_bytes >= 0", name="size_not_negative"),
)

#: What the store holds, without reading every row.
Index(
    "ix_artifacts_stored",
    artifacts.c.kind,
    artifacts.c.size_bytes,
    sqlite_where=text("deleted_at IS NULL"),
    postgresql_where=text("deleted_at IS NULL"),
)

models = Table(
    "models",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("files", JsonDocument, nullable=False),
    Column("inputs", JsonDocument, nullable=False),
    Column("outputs", JsonDocument, nullable=False),
    Column("operators", JsonDocument, nullable=False),
    Column("opset", Integer, nullable=False),
    Column("ir_version", Integer, nullable=False),
    Column("producer", AnyText, nullable=False),
    Column("parameters", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # What its files are, and what is the same for models that differ in their weights alone.
    Column("format", String(16), nullable=False, server_default="onnx"),
    Column("structure_sha256", String(64), nullable=False, server_default="", index=True),
)

model_names = Table(
    "model_names",
    metadata,
    Column("name", AnyText, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("model_sha256", ForeignKey("models.sha256"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint("version >= 1", name="version_from_one"),
)

device_types = Table(
    "device_types",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("slug", AnyText, nullable=False, unique=True),
    # Of the canonical JSON: two products under one slug stay apart.
    Column("identity_sha256", String(64), nullable=False, unique=True),
    Column("kind", String(24), nullable=False),
    Column("product_name", AnyText, nullable=False),
    Column("compute_capability", AnyText, nullable=False),
    Column("units", Integer, nullable=False),
    Column("memory_gib", Integer, nullable=False),
    Column("variant", AnyText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    one_of("kind", DeviceKind),
)

devices = Table(
    "devices",
    metadata,
    Column("uuid", AnyText, primary_key=True),
    Column("device_type_id", ForeignKey("device_types.id"), nullable=False, index=True),
    Column("host", AnyText, nullable=False),
    Column("position", Integer, nullable=False),
    Column("memory_mib", Integer, nullable=False),
    Column("driver_version", AnyText, nullable=False),
    Column("first_seen_at", UtcDateTime, nullable=False),
    Column("last_seen_at", UtcDateTime, nullable=False),
    # Since when its canaries say that it is not what it was.
    Column("suspect_since", UtcDateTime),
    Column("suspect_reason", AnyText, nullable=False, server_default=""),
)

toolchains = Table(
    "toolchains",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", AnyText, nullable=False),
    Column("version", AnyText, nullable=False),
    Column("variant", AnyText, nullable=False),
    Column("description", JsonDocument, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("name", "version", "variant"),
)

#: Every pair that some machine has been able to serve.
targets = Table(
    "targets",
    metadata,
    Column("device_type_id", ForeignKey("device_types.id"), primary_key=True),
    Column("toolchain_id", ForeignKey("toolchains.id"), primary_key=True, index=True),
)
