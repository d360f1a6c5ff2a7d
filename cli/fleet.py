"""`farm devices`, `farm toolchains`, `farm workers`: what the fleet is made of."""

from __future__ import annotations

import click

from cli.context import json_option, opened
from cli.devices import device_document, progress_text
from cli.render import show_json, show_line, show_table


@click.command(short_help="List device types that engines can be built for.")
@json_option
@click.pass_context
def devices(ctx: click.Context, as_json: bool) -> None:
    """List every device type that some worker has served, and every device: busy, idle, drained or unserved.

    \b
    farm devices
    """
    with opened(ctx).database.reading() as transaction:
        types = transaction.fleet.device_types()
        seen = transaction.fleet.devices()
        live = [worker for worker in transaction.fleet.workers() if worker.is_live]
        running = transaction.jobs.running()
        known = transaction.fleet.known_targets()
        suspects = transaction.canaries.suspects()
    documents = [
        {
            "name": slug,
            **device_type.as_json(),
            "devices": [device.uuid for device in seen if device.device_type == device_type],
            "hosts": sorted({device.host for device in seen if device.device_type == device_type}),
            "live_workers": sum(any(t.device_type == device_type for t in w.targets) for w in live),
            "toolchains": sorted(str(id_) for type_, id_ in known if type_ == device_type),
        }
        for slug, device_type in types.items()
    ]
    each = [
        device_document(device, slug, live, running, suspects.get(device.uuid))
        for slug, device_type in types.items()
        for device in seen
        if device.device_type == device_type
    ]
    if as_json:
        for document in documents:
            document["each"] = [d for d in each if d["device_type"] == document["name"]]
        show_json(documents)
        return
    show_table(
        ["device type", "product", "SM/cores>", "memory>", "devices>", "live workers>", "toolchains"],
        [
            (
                d["name"],
                d["product_name"],
                d["units"] or None,
                f"{d['memory_gib']} GiB" if d["memory_gib"] else None,
                len(d["devices"]),
                d["live_workers"],
                ", ".join(d["toolchains"]),
            )
            for d in documents
        ],
        empty="No device is known yet: `farm up` serves this machine's.",
    )
    if each:
        show_line()
        show_table(
            ["device", "host", "device type", "state", "worker", "job", "phase"],
            [
                (
                    d["uuid"],
                    d["host"],
                    d["device_type"],
                    d["state"],
                    ", ".join(d["workers"]),
                    d["job"],
                    progress_text(d["phase"], d["fraction"], waits=bool(d["waits"])),
                )
                for d in each
            ],
        )
    for d in each:
        if d["suspect_reason"]:
            show_line()
            show_line(
                f"{d['uuid']} is in doubt: {d['suspect_reason']}. `farm canary {d['uuid']}` shows its history."
            )


@click.command(short_help="List toolchains, their precisions and builder options.")
@click.option("--options", is_flag=True, help="List the builder options of each.")
@json_option
@click.pass_context
def toolchains(ctx: click.Context, options: bool, as_json: bool) -> None:
    """List every toolchain that some worker has offered, with what it can do.

    \b
    farm toolchains
    farm toolchains --options
    """
    with opened(ctx).database.reading() as transaction:
        found = transaction.fleet.toolchains()
    if as_json:
        show_json([description.as_json() for description in found])
        return
    show_table(
        ["toolchain", "variant", "builds for", "precisions"],
        [
            (
                str(d.id),
                d.id.variant,
                f"{d.serves.value} {' '.join(d.compute_capabilities)}".strip(),
                ", ".join(d.supported_precisions),
            )
            for d in found
        ],
        empty="No toolchain is known yet: `farm up` offers what this machine has.",
    )
    if not options:
        return
    for description in found:
        show_line()
        show_table(
            ["option", "kind", "default", "choices", "meaning"],
            [(o.name, o.kind, o.default, " ".join(o.choices), o.help) for o in description.options],
            title=str(description.id),
        )
