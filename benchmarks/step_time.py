"""What a weighting costs: time of a full training step, relative to the plain sum in the same run.

    python -m benchmarks.step_time                  # table on stdout, a minute or two on 2 cores
    python -m benchmarks.step_time --json=out.json

One MMoE (8 experts, one gate and tower per task), one batch on the device, Adam. A step is everything:
losses, Jacobian, weighting, optimiser; ten steps make a compiled call, as in training. `sum` is `jax.grad`
of the summed losses and Adam without any part of this library's weightings. The methods take turns, round
after round, so that a machine whose speed drifts does not favour one; a ratio is the median over rounds of
the time relative to `sum` in that round. Single times are printed for orientation only.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags

from mtl import task_jacobian, weightings
from mtl.data import Schema
from mtl.files import to_json, write_atomic
from mtl.models import build_model, shared_tap, task_cut
from mtl.tasks import Task
from mtl.train import find_ownership, make_loss_fn

FLAGS = flags.FLAGS
flags.DEFINE_multi_integer("tasks", [2, 8], "Numbers of tasks T.")
flags.DEFINE_multi_integer("batch", [256, 2048], "Batch sizes.")
flags.DEFINE_integer("rounds", 21, "Rounds in which every method is timed once.")
flags.DEFINE_float("seconds", 0.15, "Shortest time of one measurement, in seconds.")
flags.DEFINE_integer("chunk_size", None, "Backward passes per batch; default: what the backend prefers.")
flags.DEFINE_string("json", None, "Also write the figures to this file.")

STEPS_PER_CALL = 10
NUM_FEATURES = 128
SIZES = {"num_experts": 8, "expert_features": (64,), "tower_features": (32,)}
METHODS = ("sum", "static", "uwl", "mgda_tap", "mgda", "pe_ltr")
TARGETS: dict[str, Callable[[int], float]] = {
    "uwl": lambda t: 1.05,
    "mgda_tap": lambda t: 1.8,
    "mgda": lambda t: (1 + 2 * t) / 3,
}


class Case(NamedTuple):
    """Some compiled steps and the state they carry."""

    steps: Callable[..., Any]
    state: list[Any]


def make_case(method: str, num_tasks: int, batch_size: int) -> Case:
    """Compiles one method's step."""
    tasks = tuple(Task(f"task_{t}") for t in range(num_tasks))
    schema = Schema((), tuple(f"x{i}" for i in range(NUM_FEATURES)), tasks)
    model = build_model({"name": "mmoe", **SIZES}, schema)
    rng = np.random.default_rng(0)
    batch = {
        "ids": jnp.zeros((batch_size, 0), jnp.int32),
        "numeric": jnp.asarray(rng.normal(size=(batch_size, NUM_FEATURES)), jnp.float32),
        "labels": jnp.asarray(rng.integers(0, 2, size=(batch_size, num_tasks)), jnp.float32),
    }
    params = model.init(jax.random.key(0), batch)["params"]
    loss_fn = make_loss_fn(model, tasks)
    key = jax.random.key(1)
    adam = optax.adam(1e-3)

    if method == "sum":
        optimizer: Any = adam

        def step(params, state, batch):
            gradient = jax.grad(lambda p: jnp.sum(loss_fn(p, batch, key)))(params)
            updates, state = adam.update(gradient, state, params)
            return optax.apply_updates(params, updates), state

    else:
        tap = method == "mgda_tap"
        spec = {"name": "mgda", "tap": True} if tap else {"name": method}
        shared = find_ownership(model, tasks, params, jax.tree.map(lambda x: x[:4], batch)).shared
        weighting = weightings.build(spec, kinds=["binary"] * num_tasks, shared=shared)
        optimizer = optax.chain(weighting, adam)

        def step(params, state, batch):
            if tap:
                place = shared_tap(model, params, batch)
            else:
                place = None if method in weightings.SCALARIZATIONS else task_cut(model, params, batch)
            losses, jac = task_jacobian(loss_fn, params, batch, key, tap=place, chunk_size=FLAGS.chunk_size)
            updates, state = optimizer.update(jac, state, params, losses=losses)
            return optax.apply_updates(params, updates), state

    def steps(params, state, batch):
        """Some steps in one call, as the training loop runs them."""
        return jax.lax.fori_loop(0, STEPS_PER_CALL, lambda _, s: step(s[0], s[1], batch), (params, state))

    compiled = jax.jit(steps, donate_argnums=(0, 1))
    state = [jax.tree.map(jnp.copy, params), optimizer.init(params)]
    return Case(lambda p, s: compiled(p, s, batch), state)


def seconds_per_step(case: Case, calls: int) -> float:
    """Runs some calls and returns the mean time of a step."""
    start = time.perf_counter()
    for _ in range(calls):
        case.state[:] = case.steps(*case.state)
    jax.block_until_ready(case.state)
    return (time.perf_counter() - start) / (calls * STEPS_PER_CALL)


def measure(num_tasks: int, batch_size: int) -> dict[str, list[float]]:
    """Times all methods in turns; returns the seconds per step of every round."""
    cases = {m: make_case(m, num_tasks, batch_size) for m in METHODS}
    calls = {}
    for method, case in cases.items():
        seconds_per_step(case, 1)  # compiles and warms up
        calls[method] = max(1, round(FLAGS.seconds / STEPS_PER_CALL / seconds_per_step(case, 1)))
    times: dict[str, list[float]] = {m: [] for m in METHODS}
    for _ in range(FLAGS.rounds):
        for method, case in cases.items():
            times[method].append(seconds_per_step(case, calls[method]))
    return times


def main(argv: list[str]) -> None:
    """Measures all cases and prints the table."""
    del argv
    device = jax.devices()[0]
    print(f"{device.device_kind}, jax {jax.__version__}; {FLAGS.rounds} rounds; ratios to `sum`\n")
    print(
        f"{'T':>2} {'batch':>6}  {'method':<9} {'ms':>8}  {'ratio: min':>10} {'median':>7} {'max':>7}  target"
    )
    results = []
    for num_tasks in FLAGS.tasks:
        for batch_size in FLAGS.batch:
            times = measure(num_tasks, batch_size)
            for method in METHODS:
                ratios = sorted(a / b for a, b in zip(times[method], times["sum"], strict=True))
                row = {
                    "tasks": num_tasks,
                    "batch": batch_size,
                    "method": method,
                    "ms": 1e3 * statistics.median(times[method]),
                    "min": ratios[0],
                    "median": statistics.median(ratios),
                    "max": ratios[-1],
                }
                results.append(row)
                target = TARGETS[method](num_tasks) if method in TARGETS else None
                verdict = (
                    "" if target is None else f"{target:.2f} {'met' if row['median'] <= target else 'MISSED'}"
                )
                print(
                    f"{num_tasks:>2} {batch_size:>6}  {method:<9} {row['ms']:>8.3f}  {row['min']:>10.2f} "
                    f"{row['median']:>7.2f} {row['max']:>7.2f}  {verdict}",
                    flush=True,
                )
    if FLAGS.json:
        write_atomic(FLAGS.json, to_json(results, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
