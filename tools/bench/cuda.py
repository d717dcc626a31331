"""The CUDA kernels on paper: bytes moved, rooflines, registers and occupancy."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from kernel_traffic import kernel_traffic
from results import Benchmark, Report, Result, Settings

_ROOT = Path(__file__).resolve().parents[2]
_LAYERS = _ROOT / "caffe_layers"
_BANDWIDTH = {"H100 (3.35 TB/s)": 3.35e12, "Titan X (336 GB/s)": 336e9}
_THREADS = 512  # of a block: CAFFE_CUDA_NUM_THREADS
_REGISTERS, _THREADS_OF_SM, _ARCHITECTURE = 65536, 2048, "sm_90"
_ENTRY = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores.*?"
    r"Used (\d+) registers",
    re.DOTALL,
)
_TEMPLATE = re.compile(r"ParallelForKernel<(.*)>\(")


def _source_tree() -> str:
    cache = (_ROOT / "build" / "CMakeCache.txt").read_text(encoding="utf-8")
    match = re.search(r"^CAFFE_SOURCE_DIR:PATH=(.*)$", cache, re.MULTILINE)
    if match is None:
        raise ValueError("build/CMakeCache.txt: expected CAFFE_SOURCE_DIR, found none")
    return match.group(1)


def _kernels(nvcc: str, source: Path) -> list[tuple[str, int, int, int]]:
    """Name, registers, stack and spilled bytes of every kernel of a file, as ptxas reports them."""
    include = [
        _LAYERS / "include",
        _LAYERS / "compat",
        _ROOT / "build" / "generated",
        Path(_source_tree()) / "include",
    ]
    command = [
        nvcc,
        f"-arch={_ARCHITECTURE}",
        "-std=c++17",
        "-O3",
        "-DNDEBUG",
        "-w",
        "-cubin",
        "-Xptxas=-v",
        "-DBOOST_BIND_GLOBAL_PLACEHOLDERS",
        "-include",
        str(_LAYERS / "compat" / "caffe_compat.hpp"),
        "-o",
        "/dev/null",
        *(f"-I{folder}" for folder in include),
        "-I/usr/include/hdf5/serial",
        "-I/usr/include/opencv4",
        str(source),
    ]
    log = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    demangle = shutil.which("c++filt") or "cat"
    found = []
    for mangled, stack, spilled, registers in _ENTRY.findall(log):
        name = subprocess.run(
            [demangle, mangled], capture_output=True, text=True, check=True
        ).stdout.strip()
        match = _TEMPLATE.search(name)
        short = (match.group(1) if match else name).replace("caffe::", "").strip()
        found.append(
            (short.replace("(anonymous namespace)::", ""), int(registers), int(stack), int(spilled))
        )
    return found


def _occupancy(registers: int) -> float:
    """Share of the threads an SM can hold that fit its registers."""
    allocated = -(-registers // 8) * 8
    blocks = min(_REGISTERS // (allocated * _THREADS), _THREADS_OF_SM // _THREADS)
    return blocks * _THREADS / _THREADS_OF_SM


def _cuda(settings: Settings) -> Report:
    side = 64 if settings.quick else 256
    table = [
        f"Bytes that a kernel moves at least on 4 images of {side}×{side} with 128 locations each and "
        "12,417 channels (32-byte sectors, each counted once), and the time that this takes at the "
        "GPU's bandwidth. All kernels are bound by memory: the most arithmetic is seven operations on "
        "each four values. Nothing here was run on a GPU.\n",
        "| kernel | MB | " + " | ".join(f"{name}, µs" for name in _BANDWIDTH) + " |",
        "|---|---|" + "---|" * len(_BANDWIDTH),
    ]
    for kernel, size in kernel_traffic(side).items():
        times = " | ".join(f"{1e6 * size / rate:.3g}" for rate in _BANDWIDTH.values())
        table.append(f"| {kernel} | {size / 1e6:.3g} | {times} |")
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    if nvcc is None:
        return Report([], "\n".join([*table, "\nRegisters are not shown: there is no nvcc here."]))
    sources = sorted((_LAYERS / "src" / "caffe" / "layers").glob("*.cu"))
    kernels = [
        kernel
        for source in sources[: 1 if settings.quick else None]
        for kernel in _kernels(nvcc, source)
    ]
    table += [
        f"\nRegisters, stack and spills as `nvcc -arch={_ARCHITECTURE} -Xptxas -v` reports them, and "
        f"the occupancy that blocks of {_THREADS} threads reach with {_REGISTERS} registers and "
        f"{_THREADS_OF_SM} threads an SM, the numbers of both GPUs.\n",
        "| kernel | registers | stack, bytes | spilled, bytes | occupancy |",
        "|---|---|---|---|---|",
    ]
    for name, registers, stack, spilled in sorted(kernels):
        occupancy = f"{100 * _occupancy(registers):.0f} %"
        table.append(f"| `{name}` | {registers} | {stack} | {spilled} | {occupancy} |")
    most = max(registers for _, registers, _, _ in kernels)
    return Report(
        [
            Result(
                "least occupancy of the CUDA kernels",
                100 * _occupancy(most),
                None,
                "% of an SM's threads",
                True,
                most,
                _REGISTERS / _THREADS_OF_SM,
                "registers",
                "what full occupancy allows",
            )
        ],
        "\n".join(table),
    )


BENCHMARKS = [Benchmark("cuda", "CUDA kernels on paper", _cuda)]
