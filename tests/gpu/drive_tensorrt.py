"""Drives the TensorRT toolchain on a GPU, in TensorRT's own interpreter, one process per check.

Run it with that interpreter in the project's root; it needs numpy, onnx and onnxruntime there:

    PYTHONPATH=. TRT_PYTHON tests/gpu/drive_tensorrt.py            # every check
    PYTHONPATH=. TRT_PYTHON tests/gpu/drive_tensorrt.py --check timing

Prints one JSON line per check: `{"check": …, "status": "PASS", "seconds": …, "detail": …}`. TensorRT's
log of a failed check goes to stderr. Exits 1 if any failed. A process per check, so that one that
crashes TensorRT does not take the others along.
"""

# ruff: noqa: T201 - a program that prints its results

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

# Beside this program, whose folder is the first on the path.
from tensorrt_checks import CHECKS


def run_check(name: str, scratch: Path) -> int:
    """Runs one check in this process and prints its line."""
    import faulthandler

    faulthandler.enable()
    began = time.monotonic()
    line: dict[str, Any] = {"check": name, "status": "PASS"}
    try:
        line["detail"] = CHECKS[name](scratch)
    except Exception as error:  # noqa: BLE001 - a failed check is reported, the others go on
        traceback.print_exc()
        line.update(status="FAIL", detail=f"{type(error).__name__}: {error}")
    line["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(line, default=str), flush=True)
    return line["status"] != "PASS"


def main() -> int:
    """Runs one check here, or all of them, each in a process of its own."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--check", choices=sorted(CHECKS))
    ask.add_argument("--scratch", type=Path, help="folder to build in; engines there are used again")
    args = ask.parse_args()
    scratch = args.scratch or Path(tempfile.mkdtemp(prefix="drive-tensorrt-"))
    scratch.mkdir(parents=True, exist_ok=True)
    if args.check:
        return run_check(args.check, scratch)
    failed = 0
    for name in list(CHECKS):
        words = [sys.executable, __file__, "--check", name, "--scratch", str(scratch)]
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
        print(done.stdout, end="", flush=True)
        if done.returncode:
            failed += 1
            if not done.stdout or '"PASS"' in done.stdout:
                print(
                    json.dumps({"check": name, "status": "FAIL", "detail": f"exit status {done.returncode}"})
                )
            print("\n".join(done.stderr.splitlines()[-60:]), file=sys.stderr, flush=True)
    print(json.dumps({"checks": len(CHECKS), "failed": failed}), flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
