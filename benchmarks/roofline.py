"""How close steps on large tables come to what a device can do: examples, bytes and FLOPs per second.

    python -m benchmarks.roofline                                 # tables of 10⁴ and 10⁷ rows, 12 GiB
    python -m benchmarks.roofline --rows=10000 --rows=10000000 --rows=100000000 --batch=65536   # on a GPU
    python -m benchmarks.roofline --json=out.json

The steps are those of `benchmarks.scale`, in float32 and bfloat16, sums and MGDA. Limits are measured in the
same run: FLOP/s of a large product of matrices in each dtype, bytes/s of reading and writing a large array,
and bytes/s of reading and writing rows of 64 bytes that lie all over the largest table. A step's FLOPs and
bytes are XLA's own count for the compiled step. Where it counts a table whole of which a step writes a few
rows, the written rows are counted instead. Bytes that stay in a cache count too, so that small steps may
come to more than the limit.
"""

import functools
import statistics
from typing import Any

import jax
import jax.numpy as jnp
from absl import app, flags

from benchmarks import scale
from benchmarks.limits import fastest, flops_limit, stream_limit
from mtl.files import to_json, write_atomic

FLAGS = flags.FLAGS
flags.DEFINE_integer("batch", scale.BATCH, "Rows B of a batch.")
flags.DEFINE_integer("side", 0, "Side of the matrices whose product is timed; 0: 8,192, on a CPU 2,048.")

DTYPES = ("float32", "bfloat16")


def rows_limit(rows: int) -> float:
    """Bytes/s of reading rows that lie all over a table and writing them back changed."""
    count = FLAGS.batch * scale.COLUMNS
    state = [jnp.zeros((rows, scale.WIDTH), jnp.float32)]
    ids = jax.random.permutation(jax.random.key(0), rows)[: min(count, rows)]

    def renew(table, ids):
        return table.at[ids].set(table[ids] + 1, unique_indices=True)

    renew = jax.jit(renew, donate_argnums=0)

    def run():
        state[0] = renew(state[0], ids)
        return state[0]

    return 2 * 4 * scale.WIDTH * ids.size / fastest(run)


@functools.cache
def count(weighting: str, dtype: str) -> tuple[float, float]:
    """FLOPs and bytes of a step whose batch reads other rows of the table with almost every id."""
    FLAGS["dtype"].value = dtype
    ids = FLAGS.batch * scale.COLUMNS
    counted = [scale.compiled_step(rows, weighting).cost_analysis() for rows in (2 * ids, 4 * ids)]
    small, large = (each["bytes accessed"] for each in counted)
    written = 4 * ids * (3 * scale.WIDTH + 1)  # of the table, two moments, and the words that find ids
    return counted[0]["flops"], 2 * small - large + written  # without what grows with the table


def measure(rows: int, weighting: str, dtype: str) -> dict[str, Any]:
    """Times the steps of one case; counts what they do."""
    FLAGS["dtype"].value = dtype
    flops, moved = count(weighting, dtype)
    case = scale.make_case(rows, weighting, True, scale.make_params(rows))
    (times,) = scale.in_turns({0: functools.partial(scale.seconds_per_step, case)}).values()
    seconds = statistics.median(times)
    return {
        "rows": rows,
        "weighting": weighting,
        "dtype": dtype,
        "milliseconds": 1e3 * seconds,
        "examples_per_second": FLAGS.batch / seconds,
        "flops_per_second": flops / seconds,
        "bytes_per_second": moved / seconds,
    }


def main(argv: list[str]) -> None:
    """Measures the limits, then the steps."""
    del argv
    scale.BATCH = FLAGS.batch
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}; batches of {FLAGS.batch:,}")
    flops = {dtype: flops_limit(dtype, FLAGS.side) for dtype in DTYPES}
    stream, scattered = stream_limit(), rows_limit(max(FLAGS.rows))
    limits = ", ".join(f"{flops[dtype] / 1e9:,.0f} GFLOP/s in {dtype}" for dtype in DTYPES)
    print(f"limits: {limits}; {stream / 1e9:.1f} GB/s in order, {scattered / 1e9:.1f} GB/s row by row")
    heads = f"{'examples/s':>12} {'GFLOP/s':>9} {'share':>6} {'GB/s':>7} {'share':>6}"
    print(f"\n{'rows':>11} {'weighting':<9} {'dtype':<8} {'ms':>7} {heads}")
    results = []
    for rows in FLAGS.rows:
        for weighting in FLAGS.weighting:
            for dtype in DTYPES:
                r = measure(rows, weighting, dtype)
                r |= {
                    "of_flops": r["flops_per_second"] / flops[dtype],
                    "of_bytes": r["bytes_per_second"] / stream,
                }
                results.append(r)
                print(
                    f"{rows:>11,} {weighting:<9} {dtype:<8} {r['milliseconds']:>7.2f} "
                    f"{r['examples_per_second']:>12,.0f} {r['flops_per_second'] / 1e9:>9,.1f} "
                    f"{r['of_flops']:>6.2f} {r['bytes_per_second'] / 1e9:>7.1f} {r['of_bytes']:>6.2f}",
                    flush=True,
                )
    if FLAGS.json:
        found = {"flops": flops, "stream": stream, "rows": scattered, "steps": results}
        write_atomic(FLAGS.json, to_json(found, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
