"""The key of an engine: change any one input and it changes; rename things and it does not."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from farm.domain.calibration import Calibration
from farm.domain.errors import InvalidRequestError
from farm.domain.models import ModelFile
from farm.domain.shapes import ShapeRange
from farm.domain.specs import BuildSpec
from farm.domain.targets import DeviceKind, DeviceType, Target, ToolchainId
from farm.domain.verification import VerificationSpec
from farm.services.plan import BuildRequest, plan_builds
from farm.services.submit import SubmitOrder, submit_plan
from tests.factories import (
    a_build_spec,
    a_device,
    a_digest,
    a_job_request,
    a_model,
    a_shape_range,
    a_toolchain,
    a_worker,
)
from tests.fakes import InMemoryDatabase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm.domain.models import Model

#: Every engine that was ever filed lies under keys like this one. If this literal has to change, every farm
#: loses all of its engines: do not change it but for a reason that docs/engine-key.md gives.
PINNED_KEY = "3afcb56fa6465646ad2b874d80b2e03bedb021c70282c8c58b0288cdaba4f71b"

words = st.text(min_size=1, max_size=12)
sizes = st.integers(min_value=1, max_value=4096)
versions = st.lists(st.integers(0, 99), min_size=2, max_size=4).map(lambda parts: ".".join(map(str, parts)))
device_types = st.builds(
    DeviceType,
    kind=st.sampled_from(DeviceKind),
    product_name=words,
    compute_capability=st.sampled_from(["", "7.5", "8.9", "9.0"]),
    units=sizes,
    memory_gib=sizes,
    variant=words | st.just(""),
)
toolchains = st.builds(ToolchainId, name=words, version=versions, variant=words | st.just(""))
option_values = st.booleans() | st.integers() | words | st.lists(words, max_size=3)
shape_ranges = st.lists(st.tuples(sizes, sizes, sizes).map(sorted), min_size=1, max_size=4).map(
    lambda dims: ShapeRange(*(tuple(dim[at] for dim in dims) for at in range(3)))
)
specs = st.builds(
    BuildSpec,
    model_sha256=words.map(lambda text: a_digest(text).sha256),
    target=st.builds(Target, device_types, toolchains),
    precision=st.sampled_from(["fp32", "tf32", "fp16", "bf16", "int8"]),
    builder_config=st.dictionaries(words, option_values, max_size=4),
    profiles=st.lists(st.dictionaries(words, shape_ranges, max_size=3), max_size=2).map(tuple),
    salt=words | st.just(""),
)

#: One change each, of everything that an engine depends on.
CHANGES: dict[str, Any] = {
    "model": lambda spec: replace(spec, model_sha256=a_digest("other weights").sha256),
    "precision": lambda spec: replace(spec, precision="bf16"),
    "salt": lambda spec: replace(spec, salt=spec.salt + "again"),
    "calibration data": lambda spec: replace(spec, calibration=Calibration(a_digest("samples").sha256)),
    "calibration batch": lambda spec: replace(
        spec, calibration=Calibration(a_digest("samples").sha256, batch=8)
    ),
    "fewer calibration samples": lambda spec: replace(
        spec, calibration=Calibration(a_digest("samples").sha256, samples=16)
    ),
    "random calibration": lambda spec: replace(spec, calibration=Calibration(samples=16)),
    "another random calibration": lambda spec: replace(spec, calibration=Calibration(samples=16, seed=1)),
    "format of an input": lambda spec: replace(spec, io_formats={"x": "fp16:chw"}),
    "plugin": lambda spec: replace(spec, plugins=(a_digest("plugin").sha256,)),
    "layer kept in FP32": lambda spec: replace(spec, kept_layers=("conv1",)),
    "PyTorch model": lambda spec: replace(spec, program=a_digest("program").sha256),
    "refit": lambda spec: replace(spec, refit_of=a_digest("engine").sha256),
    "one option more": lambda spec: with_options(spec, **{"another option": 1}),
    "one profile more": lambda spec: replace(spec, profiles=(*spec.profiles, {"x": a_shape_range()})),
    "kind of device": lambda spec: with_device(
        spec,
        kind=DeviceKind.CPU if spec.target.device_type.kind is DeviceKind.GPU else DeviceKind.GPU,
    ),
    "product name": lambda spec: with_device(spec, product_name=spec.target.device_type.product_name + "!"),
    "compute capability": lambda spec: with_device(spec, compute_capability="12.1"),
    "multiprocessors": lambda spec: with_device(spec, units=spec.target.device_type.units + 1),
    "memory": lambda spec: with_device(spec, memory_gib=spec.target.device_type.memory_gib + 1),
    "MIG profile": lambda spec: with_device(spec, variant=spec.target.device_type.variant + "1g.18gb"),
    "toolchain": lambda spec: with_toolchain(spec, name=spec.target.toolchain.name + "-rtx"),
    "toolchain version": lambda spec: with_toolchain(spec, version=spec.target.toolchain.version + ".1"),
    "toolchain variant": lambda spec: with_toolchain(spec, variant=spec.target.toolchain.variant + "cu13"),
}


def with_device(spec: BuildSpec, **changes: Any) -> BuildSpec:
    device_type = replace(spec.target.device_type, **changes)
    return replace(spec, target=replace(spec.target, device_type=device_type))


def with_toolchain(spec: BuildSpec, **changes: Any) -> BuildSpec:
    return replace(spec, target=replace(spec.target, toolchain=replace(spec.target.toolchain, **changes)))


def with_options(spec: BuildSpec, /, **options: Any) -> BuildSpec:
    return replace(spec, builder_config={**spec.builder_config, **options})


# Another input, another key.


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@given(spec=specs)
def test_changing_any_one_input_changes_the_key(change: Any, spec: BuildSpec) -> None:
    changed = change(spec)
    assume(changed != spec)
    assert changed.digest != spec.digest


def test_there_is_a_change_for_every_field_of_device_type_and_toolchain() -> None:
    spec = a_build_spec()
    for part in ("device_type", "toolchain"):
        touched = set()
        for change in CHANGES.values():
            before, after = getattr(spec.target, part), getattr(change(spec).target, part)
            touched |= {f.name for f in fields(before) if getattr(before, f.name) != getattr(after, f.name)}
        assert touched == {f.name for f in fields(getattr(spec.target, part))}


def test_every_field_of_a_spec_is_a_component_of_its_key() -> None:
    spec = a_build_spec()
    touched = {
        f.name
        for change in CHANGES.values()
        for f in fields(spec)
        if getattr(spec, f.name) != getattr(change(spec), f.name)
    }
    assert touched == {f.name for f in fields(spec)}


def test_no_two_changes_have_the_same_key() -> None:
    keys = [change(a_build_spec()).digest for change in CHANGES.values()]
    assert all(one != other for one, other in combinations([a_build_spec().digest, *keys], 2))


@given(specs, specs)
def test_specs_have_the_same_key_only_if_they_are_the_same(one: BuildSpec, other: BuildSpec) -> None:
    same = json.dumps(one.as_json(), sort_keys=True) == json.dumps(other.as_json(), sort_keys=True)
    assert (one.digest == other.digest) is same


@given(specs, words, option_values, option_values)
def test_another_value_of_any_option_is_another_key(
    spec: BuildSpec, name: str, one: object, other: object
) -> None:
    assume(json.dumps(one) != json.dumps(other))
    assert with_options(spec, **{name: one}).digest != with_options(spec, **{name: other}).digest


@given(specs, words, option_values)
def test_leaving_an_option_out_is_another_key(spec: BuildSpec, name: str, value: object) -> None:
    assume(name not in spec.builder_config)
    assert with_options(spec, **{name: value}).digest != spec.digest


@given(shape_ranges, st.data())
def test_moving_any_bound_of_a_profile_changes_the_key(span: ShapeRange, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(span.min) - 1))
    bound = data.draw(st.sampled_from(["min", "opt", "max"]))
    moved = [*getattr(span, bound)]
    moved[at] = data.draw(sizes)
    assume(moved[at] != getattr(span, bound)[at])
    bounds = {**{name: getattr(span, name) for name in ("min", "opt", "max")}, bound: tuple(moved)}
    assume(bounds["min"][at] <= bounds["opt"][at] <= bounds["max"][at])
    other = ShapeRange(**bounds)
    assert a_build_spec(profiles=({"x": span},)).digest != a_build_spec(profiles=({"x": other},)).digest


def test_the_input_that_a_profile_is_of_is_part_of_the_key() -> None:
    span = a_shape_range()
    assert a_build_spec(profiles=({"a": span},)).digest != a_build_spec(profiles=({"b": span},)).digest


def test_the_order_of_profiles_is_part_of_the_key() -> None:
    one, two = {"input": a_shape_range(1, 1, 1)}, {"input": a_shape_range(2, 2, 2)}
    assert a_build_spec(profiles=(one, two)).digest != a_build_spec(profiles=(two, one)).digest


def test_true_is_not_one() -> None:
    assert with_options(a_build_spec(), a=True).digest != with_options(a_build_spec(), a=1).digest


def test_parts_do_not_run_into_each_other() -> None:
    joined = with_toolchain(a_build_spec(), name="tensorrt", version="8.6.0", variant="")
    moved = with_toolchain(a_build_spec(), name="tensorrt8", version=".6.0", variant="")
    assert joined.digest != moved.digest


# The same input, the same key.


@given(specs, st.randoms())
def test_the_order_of_options_and_inputs_does_not_change_the_key(spec: BuildSpec, random) -> None:
    assert reordered(spec, random).digest == spec.digest


@given(specs)
def test_tuples_and_lists_have_the_same_key(spec: BuildSpec) -> None:
    options = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in spec.builder_config.items()
    }
    assert replace(spec, builder_config=options).digest == spec.digest


@given(specs)
def test_a_spec_survives_sql_with_its_key(spec: BuildSpec) -> None:
    stored = json.loads(json.dumps(spec.as_json()))
    assert BuildSpec.from_json(stored).digest == spec.digest
    assert BuildSpec.from_json(stored).as_json() == stored


@pytest.mark.parametrize(
    "spelled_out",
    [
        {"builder_optimization_level": 3},
        {"builder_optimization_level": "3"},
        {"sparse_weights": "off"},
        {"hardware_compatibility_level": "none"},
        {"tactic_sources": ""},
        {"builder_optimization_level": 3, "sparse_weights": False, "tactic_sources": []},
    ],
)
def test_spelling_a_default_out_does_not_change_the_key(spelled_out: dict[str, Any]) -> None:
    toolchain = a_toolchain()
    assert key_of(toolchain.normalise(spelled_out)) == key_of(toolchain.normalise({}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"memory_pool_limits.WORKSPACE": "4GiB"}, {"memory_pool_limits.WORKSPACE": 4 << 30}),
        ({"memory_pool_limits.WORKSPACE": "1 MB"}, {"memory_pool_limits.WORKSPACE": "1000kb"}),
        ({"sparse_weights": "yes"}, {"sparse_weights": True}),
        ({"tactic_sources": "-CUBLAS,+CUDNN"}, {"tactic_sources": ["cudnn", "-cublas"]}),
        ({"hardware_compatibility_level": "ampere_plus"}, {"hardware_compatibility_level": "AMPERE_PLUS"}),
    ],
)
def test_two_ways_to_write_an_option_have_one_key(one: dict[str, Any], other: dict[str, Any]) -> None:
    toolchain = a_toolchain()
    assert key_of(toolchain.normalise(one)) == key_of(toolchain.normalise(other))


def test_a_toolchain_that_learns_options_keeps_the_keys() -> None:
    taught = a_toolchain(
        options=(*a_toolchain().options, replace(a_toolchain().options[0], name="new_option"))
    )
    wish = {"builder_optimization_level": 5}
    assert key_of(taught.normalise(wish)) == key_of(a_toolchain().normalise(wish))


def test_file_names_and_producers_do_not_change_the_key() -> None:
    model = a_model()
    renamed = replace(
        model, files=(ModelFile("final2.onnx", model.files[0].digest),), producer="another exporter", opset=18
    )
    assert keys_of_a_submission(model) == keys_of_a_submission(renamed)


def test_user_tags_name_host_driver_and_worker_do_not_change_the_key() -> None:
    other_host = a_worker(
        id="w-9",
        host="elsewhere",
        pid=7,
        device=a_device(uuid="GPU-9", host="elsewhere", index=5, driver_version="1.2", memory_mib=143_000),
        version="9.9.9",
    )
    assert keys_of_a_submission(a_model()) == keys_of_a_submission(
        a_model(), worker=other_host, name="backbone", user="grace", tags={"ticket": "42"}
    )


def test_how_an_engine_is_timed_and_verified_does_not_change_the_key() -> None:
    job = a_job_request(
        verification=VerificationSpec(inputs_sha256=a_digest("photos").sha256, seed=5),
        max_attempts=9,
        deadline_s=60,
    )
    assert keys_of_a_submission(a_model()) == keys_of_a_submission(a_model(), job=job)


def test_the_batches_to_measure_do_not_change_the_key_where_shapes_are_given() -> None:
    spans = {"min_shapes": ({"input": (1, 3, 8, 8)},), "opt_shapes": ({"input": (8, 3, 8, 8)},)}
    request = BuildRequest(**spans, max_shapes=({"input": (16, 3, 8, 8)},))
    measured = replace(request, batches=(2, 4))
    assert keys_of_a_submission(a_model(), request=request) == keys_of_a_submission(
        a_model(), request=measured
    )


# Values that could be written in two ways.


@given(st.floats())
def test_floats_are_refused(number: float) -> None:
    for value in (number, [number], {"inner": number}):
        with pytest.raises(InvalidRequestError):
            _ = with_options(a_build_spec(), timeout=value).digest


def test_the_key_of_one_fixed_spec_never_changes() -> None:
    assert a_fixed_spec().digest.sha256 == PINNED_KEY


def a_fixed_spec() -> BuildSpec:
    """Written out, so that no factory can change it."""
    return BuildSpec(
        model_sha256="0123456789abcdef" * 4,
        target=Target(
            DeviceType(DeviceKind.GPU, "NVIDIA H200", "9.0", units=16, memory_gib=18, variant="1g.18gb"),
            ToolchainId("tensorrt", "10.13.3.9", "cu12"),
        ),
        precision="fp16",
        builder_config={
            "builder_optimization_level": 5,
            "sparse_weights": True,
            "memory_pool_limits.WORKSPACE": 4294967296,
            "tactic_sources": ["+CUDNN", "-CUBLAS"],
        },
        profiles=({"entrée": ShapeRange((1, 3, 224, 224), (8, 3, 224, 224), (32, 3, 224, 224))},),
        salt="2026-01",
    )


def key_of(options: Mapping[str, Any]) -> str:
    return a_build_spec(builder_config=options).digest.sha256


def reordered(spec: BuildSpec, random: Any) -> BuildSpec:
    def shuffled(mapping: Mapping[str, Any]) -> dict[str, Any]:
        names = list(mapping)
        random.shuffle(names)
        return {name: mapping[name] for name in names}

    return replace(
        spec, builder_config=shuffled(spec.builder_config), profiles=tuple(map(shuffled, spec.profiles))
    )


def keys_of_a_submission(
    model: Model,
    *,
    worker: Any = None,
    name: str = "resnet",
    user: str = "ada",
    tags: dict[str, str] | None = None,
    job: Any = None,
    request: BuildRequest | None = None,
) -> set[str]:
    """The keys that a whole submission comes to, in a farm of its own."""
    database = InMemoryDatabase()
    with database.transaction() as transaction:
        transaction.fleet.register(worker or a_worker())
    with database.reading() as transaction:
        plan = plan_builds(transaction, model, request or BuildRequest(precisions=("fp16",), batches=(1, 8)))
    submission = submit_plan(
        database, model, plan, SubmitOrder(name, user, tags or {}, job or a_job_request())
    )
    return {cell.spec.digest.sha256 for cell in submission.cells}
