"""Makes the bucket of `FARM_STORE`, unless it is there: `python make_bucket.py`.

obstore has no call for it, and the farm itself never makes a bucket: one that is missing is a fault.
"""

from __future__ import annotations

import sys

from farm.domain.errors import FarmError
from farm.domain.stores import BucketUrl
from farm.settings import read_settings
from farm.storage.bucket_client import s3_config
from farm.storage.bucket_leftovers import BucketRequests

#: What servers say of a bucket that is there.
IS_THERE = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")


def main() -> int:
    """Exits with 0 if the bucket is there."""
    try:
        settings = read_settings()
        url, access = settings.store, settings.store_access
        if isinstance(url, BucketUrl):
            BucketRequests(url, s3_config(access), access.get("AWS_CA_BUNDLE")).send("PUT", "", {})
    except FarmError as error:
        if not any(word in error.message for word in IS_THERE):
            sys.stderr.write(f"the bucket could not be made: {error.message}\n")
            return error.exit_code
    sys.stdout.write(f"{url} is there\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
