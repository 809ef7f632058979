"""``python -m servers.aerospike --port 0``: print the port, serve until standard input ends.

Every line of standard input is an order as JSON, ``[name, argument]``, answered by a line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import locale
import os
import sys
import threading

from .faults import obey
from .server import Server


def main() -> None:
    """Serve in this process."""
    locale.setlocale(locale.LC_ALL, "C")  # as the server: regular expressions see bytes
    parser = argparse.ArgumentParser(prog="servers.aerospike", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--namespace", default="test")
    parser.add_argument("--build", default="8.1.2.0")
    given = parser.parse_args()
    server = Server(given.port, given.namespace, tuple(map(int, given.build.split("."))))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.port, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        for line in sys.stdin:
            name, argument = json.loads(line)
            obey(server, name, argument)
            print("done", flush=True)
    os._exit(0)  # whatever the threads are waiting for


if __name__ == "__main__":
    main()
