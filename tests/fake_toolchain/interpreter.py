"""`interpreter.py CONTROL [-s] -m workers.child REQUEST RESULT`: the farm's child, which knows the fake."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Last, so that `farm` and `workers` come from where the farm says.
    sys.path.append(str(Path(__file__).parents[2]))
    from tests.fake_toolchain import toolchain
    from workers.child.__main__ import main
    from workers.toolchains import MODULES

    toolchain.CONTROL = Path(sys.argv[1])
    MODULES["fake"] = "tests.fake_toolchain.toolchain"
    sys.exit(main(sys.argv[-2:]))
