"""How an engine looks: its key, its inputs and outputs, its layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.render import NONE, seconds, show_json, show_line, show_table, size
from cli.startup_words import startup_lines
from farm.domain.shapes import shape_text

if TYPE_CHECKING:
    from pathlib import Path

    from cli.engine_words import NamedEngine
    from farm.domain.digests import Digest
    from farm.domain.filing import Engine
    from farm.domain.layers import EngineLayers, IoTensor, Layer
    from farm.domain.models import Model, Tensor
    from farm.domain.shapes import Shape

#: Names of fused layers grow without end; JSON has them whole.
_LONGEST_NAME = 72


def engine_document(named: NamedEngine, model: Model, layers: EngineLayers) -> dict[str, Any]:
    """An engine as a document."""
    from cli.tables import engine_as_json

    engine = named.engine
    device_type = engine.spec.target.device_type
    return {
        "model": named.model,
        **engine_as_json(engine, {device_type: named.slug}),
        "io": _io_rows(engine, model, layers),
        "retired_at": engine.retired_at,
        "layer_information": layers.as_json(),
    }


def show_engine(named: NamedEngine, model: Model, layers: EngineLayers) -> None:
    """An engine for people."""
    engine = named.engine
    show_line(named.title)
    show_line()
    for word, text in _facts(engine, len(layers.layers)):
        show_line(f"{word:<14}{text}")
    show_line()
    rows = [list(row.values()) for row in _io_rows(engine, model, layers)]
    show_table(["", "name", "type", "shape", "format"], rows)
    if layers.layers:
        show_line()
        show_table(
            ["#>", "layer", "type", "precision", "formats", "weights>", "output>", "tactic"],
            [_layer_row(place, layer) for place, layer in enumerate(layers.layers)],
        )
        counts = ", ".join(f"{count} {precision}" for precision, count in layers.precisions().items())
        show_line()
        show_line(f"{len(layers.layers)} layer(s)" + (f": {counts}" if counts else ""))
    if layers.note:
        show_line(layers.note)


def show_header(path: Path, digest: Digest, *, as_json: bool) -> None:
    """A plan that no farm has filed: what its first bytes say.

    Raises:
        InvalidRequestError: it is the beginning of one.
    """
    from farm.domain.errors import InvalidRequestError
    from workers.toolchains.trt_plan import read_plan_header

    header = read_plan_header(path)
    if header is None:
        raise InvalidRequestError(
            f"{path} is the beginning of an engine: it is cut short", hint="Copy it again."
        )
    with path.open("rb") as stream:
        magic = stream.read(4)
    version = ".".join(map(str, header.version))
    if as_json:
        show_json(
            {
                "file": str(path),
                "digest": str(digest),
                "size_bytes": digest.size_bytes,
                "magic": magic.decode("ascii", "replace"),
                "product": header.product,
                "version": version or None,
            }
        )
        return
    show_line(f"{path.name}   {digest.short}   {size(digest.size_bytes)}")
    built_by = (
        f"{header.product} {version}" if version else f"{header.product} 8.5 or older, which does not say"
    )
    show_line(f"a plan (magic {magic.decode('ascii', 'replace')!r}), built by {built_by}")
    show_line(
        "This farm has not filed it; its layers are told by the library that built it alone, with a GPU."
    )


def _facts(engine: Engine, layers: int) -> list[tuple[str, str]]:
    spec = engine.spec
    count = engine.layers or layers or NONE
    options = ", ".join(f"{name}={_value(value)}" for name, value in sorted(spec.builder_config.items()))
    facts = [
        ("key", spec.digest.sha256),
        ("digest", engine.digest.sha256),
        ("size", f"{size(engine.digest.size_bytes)}, built in {seconds(engine.build_s)}, {count} layers"),
        ("memory", f"{size(engine.device_memory_bytes or None)} on the device for an execution context"),
        (
            "precision",
            f"{spec.precision}: {engine.precision_note}" if engine.precision_note else spec.precision,
        ),
        ("options", options or "none that differ from their defaults"),
    ]
    run = engine.latest_run
    facts += startup_lines(run.startup) if run else []
    for number, profile in enumerate(spec.profiles):
        spans = ", ".join(
            f"{name}: {' … '.join(map(shape_text, dict.fromkeys((span.min, span.opt, span.max))))}"
            for name, span in profile.items()
        )
        facts.append((f"profile {number}", spans))
    if spec.calibration is not None:
        source = (
            "random samples" if spec.calibration.is_random else f"data {spec.calibration.data_sha256[:12]}"
        )
        facts.append(("calibration", f"{source}, batch {spec.calibration.batch}"))
    later = {
        "I/O formats": ", ".join(f"{name}:{text}" for name, text in spec.io_formats.items()),
        "plugins": ", ".join(digest[:12] for digest in spec.plugins),
        "kept in FP32": ", ".join(spec.kept_layers),
        "salt": spec.salt,
        "unverified": "" if engine.is_verified else engine.unverified_reason,
        "retired": "its bytes are gone" if engine.retired_at else "",
    }
    return facts + [(word, text) for word, text in later.items() if text]


def _value(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _io_rows(engine: Engine, model: Model, layers: EngineLayers) -> list[dict[str, Any]]:
    """Inputs and outputs: the model's, with what the engine itself tells of them."""
    told = {tensor.name: tensor for tensor in layers.io}
    rows = []
    for mode, tensors in (("input", model.inputs), ("output", model.outputs)):
        rows += [_io_row(mode, tensor, told.get(tensor.name), engine) for tensor in tensors]
    return rows


def _io_row(mode: str, tensor: Tensor, told: IoTensor | None, engine: Engine) -> dict[str, Any]:
    wished = engine.spec.io_formats.get(tensor.name, "")
    formats = ", ".join(dict.fromkeys(filter(None, told.formats))) if told else ""
    return {
        "mode": mode,
        "name": tensor.name,
        "dtype": (told.dtype if told else "") or tensor.dtype,
        "shape": _shape_text(tensor),
        "format": formats or wished,
    }


def _shape_text(tensor: Tensor) -> str:
    shape: Shape = tensor.shape
    names = tensor.symbols or ("",) * len(shape)
    return (
        " × ".join(name or "?" if dim == -1 else str(dim) for dim, name in zip(shape, names, strict=True))
        or "scalar"
    )


def _layer_row(place: int, layer: Layer) -> list[Any]:
    return [
        place,
        short_name(layer.name),
        layer.type,
        layer.precision,
        layer.formats,
        size(layer.weights_bytes) if layer.weights_bytes else "",
        size(layer.output_bytes) if layer.output_bytes is not None else "",
        short_name(layer.tactic),
    ]


def short_name(name: str) -> str:
    """A name that fits a table: its beginning and its end."""
    if len(name) <= _LONGEST_NAME:
        return name
    half = _LONGEST_NAME // 2
    return f"{name[:half]}…{name[-half:]}"
