"""A fleet to plan for."""

from __future__ import annotations

import pytest

from tests.fakes import InMemoryDatabase
from tests.unit.plan.fleets import ANY_SM89, CPU, H200, L4, ORT, RTX, TRT8, TRT9, TRT10


@pytest.fixture
def fleet() -> InMemoryDatabase:
    """An H200 and an L4 with three TensorRTs, any GPU of 8.9 with TensorRT-RTX, a CPU with ONNX Runtime."""
    database = InMemoryDatabase()
    with database.transaction() as transaction:
        transaction.fleet.describe([H200, L4, ANY_SM89], [TRT8, TRT10, TRT9, RTX])
        transaction.fleet.describe([CPU], [ORT])
    return database
