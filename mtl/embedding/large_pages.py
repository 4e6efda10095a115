"""Large pages of memory for tables."""

import ctypes
import sys

import jax

from mtl.types import PyTree

_PAGE = 1 << 21
_LEAST = 1 << 26
_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25  # <linux/mman.h>; the second from Linux 6.1


def use_large_pages(tree: PyTree, least: int = _LEAST) -> int:
    """Asks the operating system to hold large arrays in pages of 2 MiB, where they are in a host's memory.

    Rows that lie all over gigabytes miss the processor's cache of page addresses at every access. Arrays that
    are donated, or carried by a scan, keep their memory and so their pages.

    Args:
      tree: arrays; those on accelerators are left alone.
      least: bytes from which an array is large.

    Returns:
      Bytes that the system agreed to hold so; 0 where it is not Linux, or does not offer such pages.
    """
    if not sys.platform.startswith("linux"):
        return 0
    advise = ctypes.CDLL(None).madvise
    agreed = 0
    for leaf in jax.tree.leaves(tree):
        for shard in leaf.addressable_shards:
            if shard.device.platform != "cpu" or shard.data.nbytes < least:
                continue
            begin = shard.data.unsafe_buffer_pointer()
            end = (begin + shard.data.nbytes) // _PAGE * _PAGE
            begin = -(-begin // _PAGE) * _PAGE
            where = ctypes.c_void_p(begin), ctypes.c_size_t(max(end - begin, 0))
            if advise(*where, _MADV_HUGEPAGE) == 0:
                advise(*where, _MADV_COLLAPSE)  # at once; else a thread of the kernel does so by and by
                agreed += end - begin
    return agreed
