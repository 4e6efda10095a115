"""What a step will cost at sizes that cannot be run here: a model, checked against what can.

    python -m benchmarks.cost_model                        # the checks, a minute or two on 2 quiet cores
    python -m benchmarks.cost_model --predict_only --rows=1000000000 --devices=64 --batch=65536

The model is that of `benchmarks.scale`: B rows of C ids, a table `[V, E]`, a bottom, T towers, Adam. With F_s
and F_t the multiply-adds of one row in the bottom and in all towers, p the backward passes (1 for weighted
sums, T for methods that read gradients), U ≤ B·C the distinct rows of a batch, P the dense parameters, d
devices that share a batch and hold a d-th of the table each:

    FLOPs         2 B (F_s (1 + 2 p) + 3 F_t) / d                  every pass leaves out the towers but one
    state         4 (V E (1 + 2) + V) / d + 4 P (1 + 2)            bytes per device
    row traffic   2 · 4 U E (1 + 2)                                bytes gathered and scattered
    gradients     4 p (U E + P)                                    bytes, stacked over tasks
    collectives   (gradients + 4 U E (1 + 2)) · 2 (d − 1) / d      bytes sent per device (rings)
    time          FLOPs / R + U κ

R (FLOP/s) and κ (seconds per distinct row) are measured at the smallest cases and then held against larger
ones. A pod's R is its own: measure it by running the same command there.
"""

import itertools
import statistics
from functools import partial
from typing import Any, NamedTuple

import jax
from absl import app, flags

from benchmarks import scale

FLAGS = flags.FLAGS
flags.DEFINE_bool(
    "predict_only", False, "Print the model's figures for the sizes given, and measure nothing."
)
flags.DEFINE_integer("batch", 65_536, "B, rows of a batch over all devices.")
flags.DEFINE_integer("devices", 64, "d and r: devices that share the batch and the table.")
flags.DEFINE_float("flops", 0.0, "R in FLOP/s per device, for a predicted time; 0 leaves it out.")


class Sizes(NamedTuple):
    """A step's sizes; the letters are those of the module's docstring."""

    rows: int
    batch: int
    passes: int
    devices: int = 1
    distinct: int = 0

    @property
    def bottom(self) -> int:
        """F_s."""
        return scale.multiply_adds()[0]

    @property
    def towers(self) -> int:
        """F_t."""
        return scale.multiply_adds()[1]

    @property
    def dense(self) -> int:
        """P; biases are left out, a hundredth."""
        return self.bottom + self.towers


class Cost(NamedTuple):
    """What the model says of a step, per device."""

    flops: float
    state: float
    rows: float
    gradients: float
    collectives: float


def cost(sizes: Sizes) -> Cost:
    """Evaluates the model.

    Args:
      sizes: of a step.

    Returns:
      FLOPs, and bytes.
    """
    d, p = sizes.devices, sizes.passes
    rows = 4 * sizes.distinct * scale.WIDTH
    gradients = p * (rows + 4 * sizes.dense)
    ring = 2 * (d - 1) / d
    return Cost(
        flops=scale.flops(sizes.batch, p) / d,
        state=(12 * sizes.rows * scale.WIDTH + 4 * sizes.rows) / d + 12 * sizes.dense,
        rows=6 * rows,
        gradients=gradients,
        collectives=ring * (gradients + 3 * rows),
    )


def expected_distinct(rows: int, batch: int) -> int:
    """U for ids drawn evenly from C columns of V/C rows: V (1 − (1 − C/V)^B)."""
    return round(rows * (1 - (1 - scale.COLUMNS / rows) ** batch))


def sizes_of(rows: int, batch: int, weighting: str, devices: int = 1) -> Sizes:
    """The sizes of one of the benchmark's steps."""
    return Sizes(rows, batch, scale.backward_passes(weighting), devices, expected_distinct(rows, batch))


def check_counts() -> None:
    """FLOPs and bytes of state of compiled steps, by XLA's own count, beside the model's."""
    heads = f"{'FLOPs: model':>13} {'XLA':>8} {'ratio':>6}  {'state MiB: model':>16} {'XLA':>8}"
    print(f"\n{'rows':>10} {'batch':>6} {'weighting':<9}  {heads}")
    for rows, batch, weighting in itertools.product((10_000, 1_000_000), (512, 2048), ("static", "mgda")):
        scale.BATCH = batch
        compiled = scale.compiled_step(rows, weighting)
        counted = compiled.cost_analysis()["flops"]
        held = compiled.memory_analysis().argument_size_in_bytes
        said = cost(sizes_of(rows, batch, weighting))
        print(
            f"{rows:>10,} {batch:>6} {weighting:<9}  {said.flops / 1e6:>12,.0f}M {counted / 1e6:>7,.0f}M "
            f"{counted / said.flops:>6.2f}  {said.state / 2**20:>16,.1f} {held / 2**20:>8,.1f}"
        )


def check_times() -> None:
    """Times at larger sizes beside those that follow from R and κ, measured at the smallest."""
    grid = list(itertools.product((10_000, 10_000_000), (1024, 4096), ("static", "mgda")))
    cases: dict[Any, Any] = {}
    for rows, batch, weighting in grid:
        scale.BATCH = batch
        cases[rows, batch, weighting] = scale.make_case(rows, weighting, True, scale.make_params(rows))
    times = scale.in_turns({name: partial(scale.seconds_per_step, case) for name, case in cases.items()})
    seconds = {name: statistics.median(each) for name, each in times.items()}
    small, large = (10_000, 1024, "static"), (10_000_000, 1024, "static")
    few, many = sizes_of(*small), sizes_of(*large)
    kappa = (seconds[large] - seconds[small]) / (many.distinct - few.distinct)
    rate = cost(few).flops / (seconds[small] - kappa * few.distinct)
    print(
        f"\nR = {rate / 1e9:.0f} GFLOP/s, κ = {kappa * 1e9:.0f} ns, from batches of 1,024 and the plain sum"
    )
    print(f"{'rows':>11} {'batch':>6} {'weighting':<9} {'model ms':>9} {'measured':>9} {'ratio':>6}")
    for rows, batch, weighting in grid:
        sizes = sizes_of(rows, batch, weighting)
        said = cost(sizes).flops / rate + kappa * sizes.distinct
        found = seconds[rows, batch, weighting]
        name = f"{rows:>11,} {batch:>6} {weighting:<9}"
        print(f"{name} {1e3 * said:>9.2f} {1e3 * found:>9.2f} {found / said:>6.2f}")


def predict(rows: int, batch: int, devices: int) -> None:
    """Prints what the model says."""
    print(f"\n{rows:,} rows, batch {batch:,} over {devices} devices: predictions, not measurements")
    heads = f"{'GFLOP':>8} {'state GiB':>10} {'rows MiB':>9} {'gradients MiB':>14} {'collectives MiB':>16}"
    print(f"{'':<10} {heads}  ms")
    for weighting in ("static", "mgda"):
        sizes = sizes_of(rows, batch, weighting, devices)
        c = cost(sizes)
        time = f"{1e3 * c.flops / FLAGS.flops:.2f}" if FLAGS.flops else "-"
        print(
            f"{weighting:<10} {c.flops / 1e9:>8.1f} {c.state / 2**30:>10.2f} {c.rows / 2**20:>9.1f} "
            f"{c.gradients / 2**20:>14.1f} {c.collectives / 2**20:>16.1f}  {time}"
        )


def main(argv: list[str]) -> None:
    """Checks the model and prints its predictions."""
    del argv
    if not FLAGS.predict_only:
        print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}; {FLAGS.rounds} rounds")
        check_counts()
        check_times()
    for rows in FLAGS.rows:
        predict(rows, FLAGS.batch, FLAGS.devices)


if __name__ == "__main__":
    app.run(main)
