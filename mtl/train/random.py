"""One root seed per run; every consumer has a named stream, indexed by the step or the epoch."""

import zlib

import jax

from mtl.types import Array


def stream_key(seed: Array | int, stream: str, index: Array | int = 0) -> Array:
    """Returns the key of a named stream at an index.

    Streams are independent of each other and of which others are read, so a run at step k is a pure
    function of (seed, k), and two methods with one seed see the same rows and initial weights.

    Args:
      seed: root seed of the run `[]` uint32.
      stream: name of the consumer: `init`, `order`, `dropout` …
      index: step or epoch `[]`.

    Returns:
      A typed PRNG key `[]`.
    """
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(stream.encode()))
    return jax.random.fold_in(key, index)
