"""A fleet of several devices and toolchains, and plans for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.targets import DeviceKind
from farm.domain.toolchains import BuilderOption
from farm.services.plan import BuildRequest, Plan, plan_builds
from tests.factories import OPTIONS, a_cpu_toolchain, a_device_type, a_model, a_toolchain, an_l4

if TYPE_CHECKING:
    from farm.domain.models import Model
    from tests.fakes import InMemoryDatabase


H200, L4, CPU = a_device_type(), an_l4(), a_device_type(DeviceKind.CPU)
ANY_SM89 = a_device_type(DeviceKind.COMPUTE_CAPABILITY)
TRT8, TRT10 = a_toolchain(), a_toolchain(version="10.13.3")
TRT9 = a_toolchain(version="9.3.0", options=(*OPTIONS, BuilderOption("only_in_nine", "int", default=0)))
RTX = a_toolchain(
    name="tensorrt-rtx",
    version="1.7.1",
    serves=DeviceKind.COMPUTE_CAPABILITY,
    compute_capabilities=("8.9",),
    options=(),
)
ORT = a_cpu_toolchain()


def plan(database: InMemoryDatabase, model: Model | None = None, **wishes: Any) -> Plan:
    with database.reading() as transaction:
        return plan_builds(transaction, model or a_model(), BuildRequest(**{"batches": (1, 8), **wishes}))


def cells(found: Plan) -> list[str]:
    return [f"{cell.slug} · {cell.spec.target.toolchain} · {cell.spec.precision}" for cell in found.cells]


def slugs(found: Plan) -> list[str]:
    return list(dict.fromkeys(cell.slug for cell in found.cells))
