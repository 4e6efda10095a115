"""What a solver alone costs, and how exact it is: time of one call, worst residual over 1,000 random cases.

    python -m benchmarks.solvers                  # tables on stdout, about two minutes on 2 cores
    python -m benchmarks.solvers --json=out.json

One call is one jitted solve of one Gramian in float32, with what calling a compiled program costs. Gramians
are of the five kinds of the tests – full rank, low rank, ill-conditioned, uneven scales, opposed rows – and
`typical`, T Gaussian gradients of 1,000 parameters. The solvers take turns, round after round. The column of
a kind is its median over rounds; minimum and maximum are over rounds and kinds. The target, 100 µs at T = 8
for the simplex QP, the cone QP and Nash, is held against the slowest kind's median.

At Pareto-stationary points (opposed rows, some of low rank) Nash and FairGrad have no solution, and where
the problem is ill-conditioned float32 cannot write it down: their residual is large there, as it should be.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from mtl.files import to_json, write_atomic
from mtl.solvers import (
    cone_qp,
    cone_qp_on_cosines,
    conflict_averse,
    cosine_normalise,
    fair_weights,
    simplex_qp,
)
from mtl.types import Array
from tests.solvers.gramians import KINDS, SIZES, random_gramians

FLAGS = flags.FLAGS
flags.DEFINE_multi_integer("tasks", [2, 4, 8, 16, 64], "Numbers of tasks T.")
flags.DEFINE_integer("rounds", 11, "Rounds in which every solver is timed once on every kind.")
flags.DEFINE_float("seconds", 0.005, "Shortest time of one measurement, in seconds.")
flags.DEFINE_string("json", None, "Also write the figures to this file.")

TARGET_TASKS, TARGET_MICROSECONDS = 8, 100.0
KIND_NAMES = ("full rank", "low rank", "ill-cond.", "uneven", "opposed", "typical")


def dual_proj(gramian: Array) -> tuple[Array, Array]:
    """DualProj's cone QP, v ≥ 1/T."""
    size = gramian.shape[-1]
    return cone_qp(gramian, jnp.full(size, 1.0 / size, gramian.dtype))


def upgrad(gramian: Array) -> tuple[Array, Array]:
    """UPGrad's T cone QPs, v ≥ e_i each, solved together."""
    cosine, norms, live = cosine_normalise(gramian)
    eye = jnp.eye(gramian.shape[-1], dtype=gramian.dtype)
    weights, residual = jax.vmap(lambda e: cone_qp_on_cosines(cosine, jnp.ones_like(norms), live, e))(eye)
    return weights, jnp.max(residual)


def aligned_mtl(gramian: Array) -> tuple[Array, Array]:
    """The eigendecomposition of Aligned-MTL, and how far V Λ Vᵀ is from the Gramian, relatively."""
    scaled = gramian / jnp.max(jnp.diagonal(gramian))
    values, vectors = jnp.linalg.eigh(scaled)
    return values, jnp.max(jnp.abs((vectors * values) @ vectors.T - scaled))


SOLVERS: dict[str, Callable[[Array], Any]] = {
    "simplex_qp": simplex_qp,
    "cone_qp": dual_proj,
    "upgrad": upgrad,
    "nash": fair_weights,
    "fairgrad_2": lambda gramian: fair_weights(gramian, 2.0),
    "cagrad_0.5": lambda gramian: conflict_averse(gramian, 0.5),
    "eigh": aligned_mtl,
}
TARGETS = ("simplex_qp", "cone_qp", "nash")


class Cell(NamedTuple):
    """A compiled solver, a Gramian on the device, and how many calls make a measurement."""

    solve: Callable[[Array], Any]
    gramian: Array
    calls: int


def examples(num_tasks: int) -> dict[str, np.ndarray]:
    """One Gramian `[T, T]` float32 of every kind."""
    typical = np.random.default_rng(num_tasks).normal(size=(num_tasks, 1000))
    grams = [*random_gramians(len(KINDS), num_tasks, 7), typical @ typical.T]
    return {name: gram.astype(np.float32) for name, gram in zip(KIND_NAMES, grams, strict=True)}


def seconds_per_call(cell: Cell) -> float:
    """Calls the solver some times, one after another."""
    start = time.perf_counter()
    for _ in range(cell.calls):
        out = cell.solve(cell.gramian)
    jax.block_until_ready(out)
    return (time.perf_counter() - start) / cell.calls


def measure(num_tasks: int) -> list[dict[str, Any]]:
    """Times all solvers in turns; one row per solver."""
    cells = {}
    for name, solver in SOLVERS.items():
        solve = jax.jit(solver)
        for kind, gram in examples(num_tasks).items():
            cell = Cell(solve, jnp.asarray(gram), 1)
            seconds_per_call(cell)  # compiles and warms up
            cells[name, kind] = cell._replace(calls=max(1, round(FLAGS.seconds / seconds_per_call(cell))))
    times: dict[tuple[str, str], list[float]] = {key: [] for key in cells}
    for _ in range(FLAGS.rounds):
        for key, cell in cells.items():
            times[key].append(1e6 * seconds_per_call(cell))
    rows = []
    for name in SOLVERS:
        kinds = {kind: statistics.median(times[name, kind]) for kind in KIND_NAMES}
        every = [t for kind in KIND_NAMES for t in times[name, kind]]
        rows.append({"tasks": num_tasks, "solver": name, "min": min(every), "max": max(every), **kinds})
    return rows


def worst_residuals() -> list[dict[str, Any]]:
    """The largest residual of every solver over the random cases, by kind."""
    worst: dict[str, list[float]] = {name: [0.0] * len(KINDS) for name in SOLVERS}
    for size, num in SIZES:
        grams = random_gramians(num, size, 0).astype(np.float32)
        for name, solver in SOLVERS.items():
            residual = np.asarray(jax.jit(jax.vmap(solver))(grams)[1])
            for kind in KINDS:
                largest = float(np.max(residual[kind :: len(KINDS)]))
                worst[name][kind] = max(worst[name][kind], largest)
    return [{"solver": name, **dict(zip(KIND_NAMES, values))} for name, values in worst.items()]


def main(argv: list[str]) -> None:
    """Measures all cases and prints both tables."""
    del argv
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}; {FLAGS.rounds} rounds; µs per call\n")
    columns = " ".join(f"{kind:>10}" for kind in KIND_NAMES)
    print(f"{'T':>2} {'solver':<11} {'min':>8} {columns} {'max':>8}  target")
    timings = []
    for num_tasks in FLAGS.tasks:
        for row in measure(num_tasks):
            timings.append(row)
            slowest = max(row[kind] for kind in KIND_NAMES)
            held = num_tasks == TARGET_TASKS and row["solver"] in TARGETS
            verdict = f"{TARGET_MICROSECONDS:.0f} {'met' if slowest <= TARGET_MICROSECONDS else 'MISSED'}"
            figures = " ".join(f"{row[kind]:>10.1f}" for kind in KIND_NAMES)
            print(
                f"{num_tasks:>2} {row['solver']:<11} {row['min']:>8.1f} {figures} {row['max']:>8.1f}  "
                f"{verdict if held else ''}",
                flush=True,
            )
    print(f"\nworst residual, float32, {sum(n for _, n in SIZES)} random cases, T from 2 to 64\n")
    print(f"{'solver':<11} " + " ".join(f"{kind:>10}" for kind in KIND_NAMES[:-1]))
    residuals = worst_residuals()
    for row in residuals:
        figures = " ".join(f"{row[kind]:>10.1e}" for kind in KIND_NAMES[:-1])
        print(f"{row['solver']:<11} {figures}", flush=True)
    if FLAGS.json:
        write_atomic(FLAGS.json, to_json({"microseconds": timings, "residuals": residuals}, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
