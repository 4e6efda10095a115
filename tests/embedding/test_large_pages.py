"""Large pages of memory: the system holds an array in them, and nothing else changes."""

import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from mtl.embedding import use_large_pages

OFFER = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def huge_kib_at(address):
    """Kibibytes in large pages of the memory area that holds an address."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, *rest = line.split()
        if not name.endswith(":"):
            begin, end = (int(x, 16) for x in name.split("-"))
            inside = begin <= address < end
        elif inside and name == "AnonHugePages:":
            return int(rest[0])
    raise AssertionError("no memory area holds the address")


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not OFFER.exists() or "[never]" in OFFER.read_text(),
    reason="this system offers no large pages",
)
def test_a_large_array_comes_to_lie_in_large_pages():
    x = jnp.arange(1 << 22, dtype=jnp.float32)  # 16 MiB
    asked = use_large_pages({"table": x, "bias": jnp.ones(3)}, least=1 << 23)
    assert x.nbytes - 2 * (1 << 21) < asked <= x.nbytes
    assert huge_kib_at(x.unsafe_buffer_pointer() + x.nbytes // 2) > 0
    np.testing.assert_array_equal(x, np.arange(1 << 22, dtype=np.float32))


def test_small_arrays_stay_as_they_are():
    assert use_large_pages([jnp.ones(1024)]) == 0
