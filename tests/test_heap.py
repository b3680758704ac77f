"""The heap: memory of freed tensors is used again within the block, and given back after it."""

import resource
import sys
from pathlib import Path

import pytest
import torch

from dinotune.heap import _glibc, freed_memory_kept

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or _glibc() is None, reason="only glibc gives freed blocks back at once"
)

FLOATS = 12 << 20
CPU = torch.device("cpu")


def new_pages(times: int) -> int:
    """Pages that the system had to bring while tensors came and went, once the heap is as large as they need."""
    for _ in range(8):
        torch.ones(FLOATS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(FLOATS)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_tensors_take_the_memory_of_those_before() -> None:
    usual = new_pages(4)
    with freed_memory_kept(CPU):
        kept = new_pages(4)
    assert kept * 10 < usual


def test_memory_goes_back_to_the_system_at_the_end() -> None:
    before = resident_bytes()
    with freed_memory_kept(CPU):
        torch.ones(FLOATS)
        assert resident_bytes() - before > 3 * FLOATS
    assert resident_bytes() - before < FLOATS


def test_a_failure_leaves_nothing_behind() -> None:
    usual = new_pages(4)
    with pytest.raises(ValueError, match="step"), freed_memory_kept(CPU):
        raise ValueError("step")
    assert new_pages(4) * 2 > usual


def test_work_on_a_gpu_changes_nothing() -> None:
    usual = new_pages(4)
    with freed_memory_kept(torch.device("cuda")):
        assert new_pages(4) * 2 > usual
