"""A model that nothing is wrong with."""

from __future__ import annotations

from tests.e2e import models

GOOD = models.dense(batch=1).SerializeToString()
