"""The program of a private S3 server: moto, with a log of requests and a way to die at one of them.

    python s3_program.py PORT FOLDER BUCKET…

The buckets are there before it answers. `FOLDER/requests` gets a line of JSON per request. `FOLDER/die-at` may hold `{"method": …, "like": …, "count": n}`: the
server kills itself at the n-th such request whose path, query and range hold the text, before it answers.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.ERROR)
FOLDER = Path(sys.argv[2])
_lock = threading.Lock()
_serve = DomainDispatcherApplication(create_backend_app)


def application(environ: dict[str, Any], start_response: Any) -> Any:
    """Notes a request, and passes it on."""
    request = {
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"],
        "query": environ["QUERY_STRING"],
        "range": environ.get("HTTP_RANGE", ""),
        "if_match": environ.get("HTTP_IF_MATCH", ""),
        "if_none_match": environ.get("HTTP_IF_NONE_MATCH", ""),
    }
    with _lock:
        with (FOLDER / "requests").open("a") as log:
            log.write(json.dumps(request) + "\n")
        order = FOLDER / "die-at"
        if order.exists():
            wanted = json.loads(order.read_text())
            text = f"{request['path']}?{request['query']} {request['range']}"
            if request["method"] == wanted["method"] and wanted["like"] in text:
                wanted["count"] -= 1
                order.write_text(json.dumps(wanted))
            if wanted["count"] <= 0:
                order.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
    return _serve(environ, start_response)


if __name__ == "__main__":
    for bucket in sys.argv[3:]:
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(bucket, "us-east-1")
    make_server("127.0.0.1", int(sys.argv[1]), application, threaded=True).serve_forever()
