"""`python is_live.py NAME`: exits with 0 if a worker of that name, or whose name begins with it, is live."""

from __future__ import annotations

import sys

from farm.bootstrap import open_farm
from farm.domain.errors import FarmError
from farm.settings import read_settings


def main(name: str) -> int:
    """Asks SQL, as `farm workers` does."""
    try:
        farm = open_farm(read_settings(), create=False)
        with farm.database.reading() as transaction:
            names = {worker.name for worker in transaction.fleet.workers() if worker.is_live}
    except FarmError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    return 0 if any(each.startswith(name) for each in names) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
