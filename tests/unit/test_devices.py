"""Discovery of GPUs through a stand-in for NVML, and of CPUs from samples of /proc."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from farm.domain.targets import DeviceKind, DeviceType
from tests.fake_nvml import (
    DRIVER_NOT_LOADED,
    LIBRARY_NOT_FOUND,
    VERSION_MISMATCH,
    FakeGpu,
    FakeNvml,
    mig_slice,
)
from workers.devices import describe_cpu, discover_devices, discover_gpus

if TYPE_CHECKING:
    from pathlib import Path


def test_an_h200_is_described_in_full() -> None:
    nvml = FakeNvml([FakeGpu("NVIDIA H200", "GPU-1", mig_mode=0)])
    found = discover_gpus(nvml)
    assert found.warnings == ()
    (device,) = found.devices
    assert device.device_type == DeviceType(DeviceKind.GPU, "NVIDIA H200", "9.0", units=132, memory_gib=140)
    assert (device.uuid, device.index, device.memory_mib) == ("GPU-1", 0, 143771)
    assert device.driver_version == "580.159.03"
    assert device.device_type.distinct_slug == "nvidia-h200-132sm-140gib"
    assert not nvml.is_open


@pytest.mark.parametrize(
    ("name", "capability", "cores", "sms"),
    [
        ("Tesla T4", (7, 5), 2560, 40),
        ("Tesla V100-SXM2-16GB", (7, 0), 5120, 80),
        ("NVIDIA A100-SXM4-40GB", (8, 0), 6912, 108),
        ("NVIDIA A10", (8, 6), 9216, 72),
        ("NVIDIA L4", (8, 9), 7424, 58),
        ("NVIDIA GeForce RTX 4090", (8, 9), 16384, 128),
        ("NVIDIA B200", (10, 0), 18944, 148),
        ("NVIDIA GeForce RTX 5090", (12, 0), 21760, 170),
    ],
)
def test_multiprocessors_are_counted_by_the_cores_that_one_has(
    name: str, capability: tuple[int, int], cores: int, sms: int
) -> None:
    nvml = FakeNvml([FakeGpu(name, "GPU-1", capability=capability, cores=cores)])
    assert discover_gpus(nvml).devices[0].device_type.units == sms


def test_where_mig_is_on_the_slices_are_the_devices() -> None:
    slices = [
        mig_slice("NVIDIA H200 MIG 1g.18gb", "MIG-a", sms=16, memory_mib=16384, compute=1, gpu=1),
        None,
        mig_slice("NVIDIA H200 MIG 3g.71gb", "MIG-b", sms=60, memory_mib=71424, compute=3, gpu=3),
    ]
    gpus = [
        FakeGpu("NVIDIA H200", "GPU-1", mig_mode=1, slices=slices),
        FakeGpu("NVIDIA H200", "GPU-2", mig_mode=0),
    ]
    found = discover_gpus(FakeNvml(gpus))
    assert found.warnings == ()
    assert [device.uuid for device in found.devices] == ["MIG-a", "MIG-b", "GPU-2"]
    small = found.devices[0]
    assert small.device_type == DeviceType(
        DeviceKind.GPU, "NVIDIA H200", "9.0", units=16, memory_gib=16, variant="1g.18gb"
    )
    assert small.memory_mib == 16384
    assert small.device_type.slug == "nvidia-h200-mig-1g.18gb"


@pytest.mark.parametrize(
    ("total_mib", "memory_mib", "compute", "gpu", "profile"),
    [
        (143771, 16384, 1, 1, "1g.18gb"),
        (143771, 71424, 3, 3, "3g.71gb"),
        (40960, 4864, 1, 1, "1g.5gb"),
        (40960, 20096, 1, 3, "1c.3g.20gb"),
        (81920, 81920, 7, 7, "7g.80gb"),
    ],
)
def test_a_slice_whose_name_lacks_the_profile_gets_it_from_its_sizes(
    total_mib: int, memory_mib: int, compute: int, gpu: int, profile: str
) -> None:
    slices: list[FakeGpu | None] = [
        mig_slice("NVIDIA GPU", "MIG-a", sms=14, memory_mib=memory_mib, compute=compute, gpu=gpu)
    ]
    nvml = FakeNvml([FakeGpu("NVIDIA GPU", "GPU-1", memory_mib=total_mib, mig_mode=1, slices=slices)])
    assert discover_gpus(nvml).devices[0].device_type.variant == profile


def test_a_gpu_in_mig_mode_without_an_instance_is_told_of() -> None:
    found = discover_gpus(FakeNvml([FakeGpu("NVIDIA H200", "GPU-1", mig_mode=1, slices=[None] * 7)]))
    assert found.devices == ()
    assert "GPU 0 is in MIG mode without an instance" in found.warnings[0]


@pytest.mark.parametrize("error", [LIBRARY_NOT_FOUND, DRIVER_NOT_LOADED])
def test_a_host_without_a_driver_has_no_gpu_and_that_is_no_error(error: int) -> None:
    found = discover_gpus(FakeNvml(init_error=error))
    assert (found.devices, found.warnings) == ((), ())


def test_a_driver_that_does_not_start_is_told_of() -> None:
    found = discover_gpus(FakeNvml(init_error=VERSION_MISMATCH))
    assert found.devices == ()
    assert "version mismatch" in found.warnings[0]


def test_a_gpu_that_fails_is_told_of_and_the_others_are_used() -> None:
    gpus = [FakeGpu("NVIDIA H200", f"GPU-{number}", lost=number == 1) for number in range(3)]
    nvml = FakeNvml(gpus)
    found = discover_gpus(nvml)
    assert [(device.uuid, device.index) for device in found.devices] == [("GPU-0", 0), ("GPU-2", 2)]
    assert found.warnings == ("GPU 1 is listed by NVML but fails, and is not used: GPU is lost",)
    assert not nvml.is_open


INTEL = (
    "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) Platinum 8480C\n"
    "flags\t\t: fpu sse4_2 avx avx2 avx512f amx_bf16 amx_tile\n\nprocessor\t: 1\nmodel name\t: another\n"
)
AMD = (
    "processor\t: 0\nmodel name\t: AMD EPYC 9334 32-Core Processor\nflags\t\t: fpu sse4_2 avx avx2 avx512f\n"
)
OLD = "processor\t: 0\nmodel name\t: AMD EPYC 7763 64-Core Processor\nflags\t\t: fpu sse4_2 avx avx2\n"
GRACE = (
    "processor\t: 0\nBogoMIPS\t: 2000.00\nFeatures\t: fp asimd evtstrm aes sve sve2\n"
    "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd4f\n"
)
RASPBERRY = "processor\t: 0\nmodel name\t: ARMv7 Processor rev 3 (v7l)\nFeatures\t: half thumb neon vfpv4\n"


def _host(folder: Path, **files: str) -> Path:
    places = {
        "cpuinfo": "proc/cpuinfo",
        "cgroup": "proc/self/cgroup",
        "machine_id": "etc/machine-id",
        "boot_id": "proc/sys/kernel/random/boot_id",
        "quota": "sys/fs/cgroup/cpu.max",
        "inner_quota": "sys/fs/cgroup/farm/worker/cpu.max",
    }
    for name, text in files.items():
        place = folder / places[name]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("cpuinfo", "name", "variant"),
    [
        (INTEL, "Intel(R) Xeon(R) Platinum 8480C", "amx"),
        (AMD, "AMD EPYC 9334 32-Core Processor", "avx512"),
        (OLD, "AMD EPYC 7763 64-Core Processor", "avx2"),
        (GRACE, "ARM Neoverse-V2", "sve2"),
        (RASPBERRY, "ARMv7 Processor rev 3 (v7l)", "neon"),
    ],
)
def test_a_cpu_is_described_by_its_model_and_widest_vectors(
    cpuinfo: str, name: str, variant: str, tmp_path: Path
) -> None:
    cpu = describe_cpu(_host(tmp_path, cpuinfo=cpuinfo))
    assert cpu.device_type.kind is DeviceKind.CPU
    assert (cpu.device_type.product_name, cpu.device_type.variant) == (name, variant)
    assert cpu.device_type.units == len(os.sched_getaffinity(0))
    assert cpu.memory_mib > 0


def test_a_cpu_that_the_kernel_says_nothing_of_still_has_a_name(tmp_path: Path) -> None:
    assert describe_cpu(tmp_path).device_type.product_name


@pytest.mark.parametrize(
    ("quota", "inner_quota"),
    [("100000 100000", "max 100000"), ("max 100000", "150000 100000"), ("50000 100000", "")],
)
def test_the_quota_of_a_container_limits_the_cores(quota: str, inner_quota: str, tmp_path: Path) -> None:
    host = _host(tmp_path, cgroup="0::/farm/worker\n", quota=quota, inner_quota=inner_quota)
    assert describe_cpu(host).device_type.units == 1


def test_a_cpu_keeps_its_uuid_over_restarts_and_does_not_show_the_machine_id(tmp_path: Path) -> None:
    machine_id = "3d1219c7c4c5404aaa1f6d2a48adfda4"
    first = describe_cpu(_host(tmp_path / "a", machine_id=f"{machine_id}\n", boot_id="one")).uuid
    second = describe_cpu(_host(tmp_path / "b", machine_id=f"{machine_id}\n", boot_id="two")).uuid
    assert first == second
    assert first.startswith("CPU-")
    assert machine_id not in first.replace("-", "")


def test_hosts_without_a_machine_id_are_told_apart_by_their_boot(tmp_path: Path) -> None:
    first = describe_cpu(_host(tmp_path / "a", machine_id="", boot_id="one")).uuid
    second = describe_cpu(_host(tmp_path / "b", machine_id="", boot_id="two")).uuid
    assert first != second


def test_this_host_has_a_cpu_at_the_end_of_the_list() -> None:
    devices = discover_devices()
    assert devices[-1].device_type.kind is DeviceKind.CPU
    assert devices == discover_devices()
