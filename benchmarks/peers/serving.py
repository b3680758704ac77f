"""How a script of a peer is measured: it says when it is ready, and works once for every line that it reads.

Runs in the peer's own environment; lines of other libraries on standard output are passed over.
"""

import importlib.metadata
import sys
import time
from collections.abc import Callable

import torch


def serve(work: Callable[[], object], *packages: str) -> None:
    """Work on demand and print the seconds of processor time."""
    torch.set_num_threads(1)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    print(f"\nready {versions}", flush=True)
    for _ in sys.stdin:
        start = time.process_time()
        work()
        print(f"\nseconds {time.process_time() - start}", flush=True)
