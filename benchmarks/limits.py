"""What a device can do, for figures to be held against."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def fastest(run: Callable[[], Any], rounds: int = 5, calls: int = 3) -> float:
    """Seconds of a call, the fastest round of some."""
    jax.block_until_ready(run())
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(calls):
            result = run()
        jax.block_until_ready(result)
        times.append((time.perf_counter() - start) / calls)
    return min(times)


def square_side() -> int:
    """Side of matrices large enough for a product at full speed: 8,192, on a CPU 2,048."""
    return 2048 if jax.default_backend() == "cpu" else 8192


def flops_limit(dtype: str, side: int = 0) -> float:
    """FLOP/s of a product of two square matrices; 0 takes `square_side`."""
    n = side or square_side()
    a = jnp.ones((n, n), dtype)
    product = jax.jit(lambda a: a @ a)
    return 2 * n**3 / fastest(lambda: product(a))


def stream_limit() -> float:
    """Bytes/s of reading an array of 512 MiB and writing it back changed."""
    x = [jnp.zeros(1 << 27, jnp.float32)]
    add = jax.jit(lambda x: x + 1, donate_argnums=0)

    def run():
        x[0] = add(x[0])
        return x[0]

    return 2 * x[0].nbytes / fastest(run)
