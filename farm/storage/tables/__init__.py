"""The tables; private to storage and migrations.

The schema refuses what the code must never write: one live job per key, one engine per key, one
attempt per number, states that do not exist.
"""

from farm.storage.tables.catalog import (
    artifacts,
    device_types,
    devices,
    model_names,
    models,
    targets,
    toolchains,
)
from farm.storage.tables.columns_of_all import metadata
from farm.storage.tables.engines import (
    calibration_caches,
    canaries,
    engines,
    measurements,
    runs,
    stored_references,
    timing_caches,
)
from farm.storage.tables.fleet import (
    duties,
    schema_compatibility,
    signing_keys,
    user_usage,
    worker_drains,
    worker_targets,
    workers,
)
from farm.storage.tables.work import attempts, cells, follow_ups, jobs, log_chunks, submissions

__all__ = [
    "artifacts",
    "attempts",
    "calibration_caches",
    "canaries",
    "cells",
    "device_types",
    "devices",
    "duties",
    "engines",
    "follow_ups",
    "jobs",
    "log_chunks",
    "measurements",
    "metadata",
    "model_names",
    "models",
    "runs",
    "schema_compatibility",
    "signing_keys",
    "stored_references",
    "submissions",
    "targets",
    "timing_caches",
    "toolchains",
    "user_usage",
    "worker_drains",
    "worker_targets",
    "workers",
]
