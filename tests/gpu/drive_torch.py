"""Drives PyTorch's baselines on a GPU, in an interpreter that has a PyTorch with CUDA, one process per check.

Run it with that interpreter in the project's root; it needs numpy and torch there, and no pytest:

    PYTHONPATH=. python3 tests/gpu/drive_torch.py                  # every check
    PYTHONPATH=. python3 tests/gpu/drive_torch.py --check timing

Prints one JSON line per check: `{"check": …, "status": "PASS" | "FAIL" | "SKIP", "seconds": …, "detail": …}`. The stack
trace of a failed check goes to stderr. Exits 1 if any failed. `onnxruntime-cuda` is skipped, with the reason, where
that interpreter's ONNX Runtime has no CUDA execution provider.
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
from torch_checks import CHECKS, Skipped


def run_check(name: str) -> int:
    """Runs one check in this process and prints its line."""
    began = time.monotonic()
    line: dict[str, Any] = {"check": name, "status": "PASS"}
    with tempfile.TemporaryDirectory(prefix="drive-torch-") as folder:
        try:
            line["detail"] = CHECKS[name](Path(folder))
        except Skipped as reason:
            line.update(status="SKIP", detail=str(reason))
        except Exception as error:  # noqa: BLE001 - a failed check is reported, the others go on
            traceback.print_exc()
            line.update(status="FAIL", detail=f"{type(error).__name__}: {error}")
    line["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(line, default=str), flush=True)
    return line["status"] == "FAIL"


def main() -> int:
    """Runs one check here, or all of them, each in a process of its own."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--check", choices=sorted(CHECKS))
    args = ask.parse_args()
    if args.check:
        return run_check(args.check)
    failed = 0
    for name in CHECKS:
        words = [sys.executable, __file__, "--check", name]
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
        print(done.stdout, end="", flush=True)
        if done.returncode:
            failed += 1
            if not done.stdout:
                print(
                    json.dumps({"check": name, "status": "FAIL", "detail": f"exit status {done.returncode}"})
                )
            print("\n".join(done.stderr.splitlines()[-60:]), file=sys.stderr, flush=True)
    print(json.dumps({"checks": len(CHECKS), "failed": failed}), flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
