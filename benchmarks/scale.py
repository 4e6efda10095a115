"""Sparse rows: what a step costs at 10⁴ and at 10⁷ rows, in time and memory, beside dense steps and PyTorch.

    python -m benchmarks.scale                       # all of it: three minutes on 2 quiet cores, 12 GiB
    python -m benchmarks.scale --only=steps --rows=10000 --rows=1000000
    python -m benchmarks.scale --only=steps --weighting=mgda --rows=10000 --rows=100000000    # 21 GiB
    python -m benchmarks.scale --json=out.json

A Shared-Bottom with ten id columns, rows of 16, a bottom of 256 and 128 units and four binary tasks;
batches of 2,048 whose ids are drawn evenly, so that nearly every one is another row of a large table; Adam. A
step is everything: distinct rows, gather, losses, Jacobian, weighting, optimiser, scatter; twenty steps with
twenty batches make a call. The cases take turns, and a ratio is the median over rounds of the ratio in that
round; beside PyTorch it is that of the fastest rounds.

Parts: `unique` (finding the distinct ids), `steps`, `cut` (MGDA with T backward passes that begin at the
bottom's output, beside passes through everything), `memory` (of a process that trains at the largest size,
above that of one at 1,000 rows), `torch` (needs the extra `peers`: the same model, sparse gradients and
SparseAdam, or dense ones, whichever is faster; MGDA by T backward passes; and how long the matrix products of
a step take at the fastest rate of either library, which bounds what anybody can gain).
"""

import functools
import importlib.util
import itertools
import json
import multiprocessing
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks.limits import fastest, flops_limit, square_side
from mtl import weightings
from mtl.data import IdColumn, Schema
from mtl.embedding import empty_scratch, unique_rows, use_large_pages
from mtl.files import to_json, write_atomic
from mtl.models import build_model
from mtl.tasks import Task
from mtl.train import (
    TrainSettings,
    TrainState,
    chain,
    find_ownership,
    make_loss_fn,
    make_step,
    on_rows,
    sparse_rows,
)

FLAGS = flags.FLAGS
PARTS = ("unique", "steps", "cut", "memory", "torch")
METHODS = ("static", "mgda")
flags.DEFINE_multi_enum("only", list(PARTS), PARTS, "Parts to run.")
flags.DEFINE_multi_integer("rows", [10_000, 10_000_000], "Rows of the table; the first is the reference.")
flags.DEFINE_multi_enum("weighting", list(METHODS), METHODS, "Weightings to time; `static` is the plain sum.")
flags.DEFINE_list("bottom", None, "Units of the bottom's layers instead of 256,128.")
flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "What the model computes in.")
flags.DEFINE_integer("tasks", 4, "Number of tasks T.")
flags.DEFINE_integer("rounds", 9, "Rounds in which every case is timed once.")
flags.DEFINE_integer("steps", 20, "Steps in a call, each with a batch of its own.")
flags.DEFINE_string("json", None, "Also write the figures to this file.")
flags.DEFINE_integer("measure_memory", 0, "Only train at this size and print the peak of memory.")

COLUMNS, WIDTH, BATCH = 10, 16, 2048
BOTTOM, TOWER = (256, 128), (64,)


class Case(NamedTuple):
    """A compiled call of some steps, and the state it carries."""

    call: Callable[..., Any]
    state: list[Any]


def chosen(targets: dict[str, float | None]) -> list[tuple[str, float | None]]:
    """The weightings to time, each with its target."""
    return [(weighting, targets[weighting]) for weighting in FLAGS.weighting]


def make_tasks() -> tuple[Task, ...]:
    """The binary tasks."""
    return tuple(Task(f"task_{t}") for t in range(FLAGS.tasks))


def bottom_units() -> tuple[int, ...]:
    """Units of the bottom's layers."""
    return tuple(map(int, FLAGS.bottom)) if FLAGS.bottom else BOTTOM


def multiply_adds() -> tuple[int, int]:
    """Multiply-adds of one row in the bottom, F_s, and in all towers, F_t."""
    bottom = (COLUMNS * WIDTH, *bottom_units())
    tower = (bottom[-1], *TOWER, 1)
    shared, private = (sum(a * b for a, b in itertools.pairwise(widths)) for widths in (bottom, tower))
    return shared, FLAGS.tasks * private


def backward_passes(weighting: str) -> int:
    """Passes p through the bottom."""
    return FLAGS.tasks if weighting == "mgda" else 1


def flops(batch: int, passes: int) -> int:
    """FLOPs of a step's matrix products, 2 B (F_s (1 + 2 p) + 3 F_t)."""
    shared, private = multiply_adds()
    return 2 * batch * (shared * (1 + 2 * passes) + 3 * private)


def make_model(rows: int) -> Any:
    """The model with a table of so many rows."""
    columns = tuple(IdColumn(f"id_{c}", rows // COLUMNS) for c in range(COLUMNS))
    sizes = {"bottom_features": bottom_units(), "tower_features": TOWER, "embedding_dim": WIDTH}
    return build_model({"name": "shared_bottom", **sizes}, Schema(columns, (), make_tasks()), FLAGS.dtype)


def make_batches(rows: int, steps: int) -> dict[str, np.ndarray]:
    """Batches `[steps, B, …]`."""
    rng = np.random.default_rng(0)
    return {
        "ids": rng.integers(0, rows // COLUMNS, (steps, BATCH, COLUMNS), np.int32),
        "numeric": np.zeros((steps, BATCH, 0), np.float32),
        "labels": rng.integers(0, 2, (steps, BATCH, FLAGS.tasks)).astype(np.float32),
    }


def make_params(rows: int) -> Any:
    """Initial parameters, drawn in one compiled call."""
    model = make_model(rows)
    row = {k: v[0, :1] for k, v in make_batches(rows, 1).items()}
    return jax.jit(lambda: model.init(jax.random.key(0), row)["params"])()


def make_parts(
    rows: int, weighting: str, sparse: bool, cut: bool = True
) -> tuple[Callable[..., Any], Callable[[Any], Any]]:
    """The step `(carry, batch, key) -> (carry, metrics)`, and what makes its carry from parameters."""
    model, few = make_model(rows), make_model(100)
    settings = TrainSettings(batch_size=BATCH, sparse_rows=sparse)
    shared = None
    if weighting == "mgda":
        batch = {k: jnp.asarray(v[0, :4]) for k, v in make_batches(100, 1).items()}
        shared = find_ownership(few, make_tasks(), make_params(100), batch).shared
    spec = {"name": weighting, **({"weights": 1.0} if weighting == "static" else {})}
    method = weightings.build(spec, kinds=["binary"] * FLAGS.tasks, shared=shared)
    optimizer = chain(method, settings, FLAGS.steps)
    step = make_step(model, make_tasks(), optimizer, cut=cut and shared is not None)
    treatment = sparse_rows(model, settings)

    def fresh(params: Any) -> TrainState:
        return TrainState(params, optimizer.init(params), {})

    if treatment is None:
        return step, fresh
    shapes = jax.eval_shape(lambda: make_params(rows))
    rows_step = on_rows(step, fresh, shapes, treatment)
    return rows_step, lambda params: (fresh(params), empty_scratch(treatment.table.num_rows))


def make_case(rows: int, weighting: str, sparse: bool, params: Any, cut: bool = True) -> Case:
    """Compiles the steps; the parameters become part of the state, which is donated."""
    batches = {k: jnp.asarray(v) for k, v in make_batches(rows, FLAGS.steps).items()}
    step, make_carry = make_parts(rows, weighting, sparse, cut)
    carry = jax.jit(make_carry, donate_argnums=0)(params)
    use_large_pages(carry)

    def call(carry, batches):
        return jax.lax.scan(lambda c, b: step(c, b, jax.random.key(1)), carry, batches)

    compiled = jax.jit(call, donate_argnums=0)
    return Case(lambda carry: compiled(carry, batches)[0], [carry])


def compiled_step(rows: int, weighting: str) -> Any:
    """One sparse step, compiled from shapes alone."""
    step, make_carry = make_parts(rows, weighting, True)
    carry = jax.eval_shape(lambda: make_carry(make_params(rows)))
    batch = {k: jnp.asarray(v[0]) for k, v in make_batches(rows, 1).items()}
    one = jax.jit(lambda c, b: step(c, b, jax.random.key(1)), donate_argnums=0)
    return one.lower(carry, batch).compile()


def seconds_per_step(case: Case) -> float:
    """Runs one call and returns the mean time of a step."""
    start = time.perf_counter()
    case.state[0] = case.call(case.state[0])
    jax.block_until_ready(case.state)
    return (time.perf_counter() - start) / FLAGS.steps


def in_turns(cases: dict[Any, Callable[[], float]], unread: int = 0) -> dict[Any, list[float]]:
    """Times of every case, round after round, after one that warms up and `unread` ones in every turn."""
    for case in cases.values():
        case()
    times: dict[Any, list[float]] = {name: [] for name in cases}
    for _ in range(FLAGS.rounds):
        for name, case in cases.items():
            for _ in range(unread):
                case()
            times[name].append(case())
    return times


def ratio(times: dict[Any, list[float]], one: Any, other: Any) -> dict[str, float]:
    """Median, minimum and maximum over rounds of one case's time over another's; `value` is the median."""
    found = sorted(a / b for a, b in zip(times[one], times[other], strict=True))
    return {"min": found[0], "value": statistics.median(found), "max": found[-1]}


def show(name: str, found: dict[str, float], target: float | None = None, at_most: bool = True) -> dict:
    """Prints a ratio beside its target."""
    verdict = ""
    if target is not None:
        met = found["value"] <= target if at_most else found["value"] >= target
        verdict = f"{'at most' if at_most else 'at least'} {target:g}: {'met' if met else 'MISSED'}"
    print(
        f"{name:<64} {found['value']:>8.2f}  ({found['min']:.2f} to {found['max']:.2f})  {verdict}",
        flush=True,
    )
    return {"name": name, **found, "target": target}


def measure_unique() -> list[dict]:
    """Times of finding the distinct ids of a batch, in milliseconds."""
    rows = max(FLAGS.rows)
    ids = make_batches(rows, 1)["ids"][0] + np.arange(COLUMNS, dtype=np.int32) * (rows // COLUMNS)
    ours = jax.jit(lambda s, i: unique_rows(s, i, ids.size), donate_argnums=0)
    sort = jax.jit(lambda i: jnp.unique(i, size=ids.size, return_inverse=True))
    scratch, on_device = [empty_scratch(rows)], jnp.asarray(ids)

    def timed(run: Callable[[], Any]) -> Callable[[], float]:
        def case() -> float:
            start = time.perf_counter()
            for _ in range(FLAGS.steps):
                jax.block_until_ready(run())
            return (time.perf_counter() - start) / FLAGS.steps

        return case

    def by_scratch():
        scratch[0], found = ours(scratch[0], on_device)
        return found

    cases = {
        "scratch": timed(by_scratch),
        "jnp.unique": timed(lambda: sort(on_device)),
        "numpy and transfer": timed(lambda: jax.device_put(np.unique(ids, return_inverse=True))),
    }
    times = in_turns(cases)
    print(f"\ndistinct among {ids.size:,} ids of {rows:,}; milliseconds, then ratios")
    for name, each in times.items():
        print(f"  {name:<20} {1e3 * statistics.median(each):8.3f}")
    return [show(f"{name} / scratch", ratio(times, name, "scratch")) for name in list(times)[1:]]


def measure_steps() -> list[dict]:
    """Times of steps over table sizes and weightings."""
    first, *others = FLAGS.rows
    cases: dict[Any, Case] = {}
    for weighting in FLAGS.weighting:
        cases[first, weighting, "dense"] = make_case(first, weighting, False, make_params(first))
        for rows in FLAGS.rows:
            cases[rows, weighting, "sparse"] = make_case(rows, weighting, True, make_params(rows))
    times = in_turns({name: functools.partial(seconds_per_step, case) for name, case in cases.items()})
    print("\nsteps: milliseconds, then ratios")
    for (rows, weighting, way), each in times.items():
        print(f"  {weighting:<7} {way:<7} {rows:>11,} rows {1e3 * statistics.median(each):8.2f}")
    found = []
    for weighting, most in chosen({"static": 1.5, "mgda": None}):
        name = f"{weighting}: sparse / dense at {first:,}"
        one, other = (first, weighting, "sparse"), (first, weighting, "dense")
        found.append(show(name, ratio(times, one, other), most))
    for rows in others:
        for weighting, most in chosen({"static": None, "mgda": 1.2}):
            name = f"{weighting}: sparse at {rows:,} / at {first:,}"
            one, other = (rows, weighting, "sparse"), (first, weighting, "sparse")
            found.append(show(name, ratio(times, one, other), most))
    return found


def measure_cut() -> list[dict]:
    """Times of MGDA's steps with passes from the bottom's output and with passes through all towers."""
    rows = FLAGS.rows[0]
    cases = {cut: make_case(rows, "mgda", True, make_params(rows), cut) for cut in (True, False)}
    times = in_turns({cut: functools.partial(seconds_per_step, case) for cut, case in cases.items()})
    print(f"\nMGDA with {FLAGS.tasks} tasks at {rows:,} rows: {1e3 * statistics.median(times[True]):.2f} ms")
    return [show("passes through everything / from the bottom's output", ratio(times, False, True))]


def measure_memory() -> list[dict]:
    """Peak of a training process's memory beyond that of one with a tiny table, over what must be kept."""

    def peak(rows: int) -> int:
        command = [sys.executable, "-m", "benchmarks.scale", f"--measure_memory={rows}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.strip().splitlines()[-1])

    rows = max(FLAGS.rows)
    kept = 3 * rows * WIDTH * 4
    above = peak(rows) - peak(1_000)
    print(
        f"\nmemory at {rows:,} rows with MGDA and Adam: {above / 2**20:,.0f} MiB above a tiny table's process"
    )
    value = above / kept
    return [show("peak / (table and moments)", {"min": value, "value": value, "max": value}, 1.15)]


def train_and_print_peak(rows: int) -> None:
    """Trains some steps; prints the process's peak of memory in bytes."""
    case = make_case(rows, "mgda", True, make_params(rows))
    for _ in range(3):
        seconds_per_step(case)
    # Not `ru_maxrss`, which a child inherits from its parent.
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    print(int(line.split()[1]) * 1024)


def measure_torch() -> list[dict]:
    """Times beside PyTorch's, which has a process of its own, in turns."""
    if importlib.util.find_spec("torch") is None:
        print("\ntorch: not installed; pip install -e .[peers]")
        return []
    results = []
    for rows in FLAGS.rows:
        ways = ("sparse", "dense") if rows <= 100_000 else ("sparse",)
        names = [(way, weighting) for way in ways for weighting in FLAGS.weighting]
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=serve_torch, args=(sys.argv, rows, names, there)
        )
        process.start()
        there.close()
        cases: dict[Any, Callable[[], float]] = {}
        for weighting in FLAGS.weighting:
            case = make_case(rows, weighting, True, make_params(rows))
            cases["ours", weighting] = functools.partial(seconds_per_step, case)
        cases |= {name: functools.partial(ask, here, name) for name in names}
        version, losses, rate = here.recv()
        rate = max(rate, flops_limit("float32"))
        differences = [np.abs(found - first_losses(rows, make_params(rows))).max() for found in losses]
        times = in_turns(cases, unread=2)  # the other library's threads go on spinning for a while
        here.send(None)
        process.join()
        print(f"\nPyTorch {version} at {rows:,} rows; first losses differ by {max(differences):.1e}")
        for (way, weighting), each in times.items():
            print(f"  {weighting:<7} {way:<7} {1e3 * min(each):8.2f} ms at best")
        for weighting, least in chosen({"static": 2.0, "mgda": 5.0}):
            best = min((min(times[way, weighting]), way) for way in ways)[1]
            name = f"{weighting} at {rows:,}: PyTorch ({best}) / ours"
            speed_up = ratio(times, (best, weighting), ("ours", weighting))
            # Threads that still spin disturb a round now and then: the fastest rounds count.
            speed_up["value"] = min(times[best, weighting]) / min(times["ours", weighting])
            results.append(show(name, speed_up, least, at_most=False))
            products = flops(BATCH, backward_passes(weighting)) / rate
            print(
                f"  at the {rate / 1e9:.0f} GFLOP/s of a large product its matrix products alone take "
                f"{1e3 * products:.1f} ms: no step with these passes is more than "
                f"{min(times[best, weighting]) / products:.1f} times as fast"
            )
    return results


def serve_torch(argv: list[str], rows: int, names: list[tuple[str, str]], pipe: Any) -> None:
    """Makes PyTorch's steps; answers the name of one with its time, until told None.

    Args:
      argv: this program's command line.
      rows: rows of the table.
      names: ways (`sparse`, `dense`) and weightings.
      pipe: where the version, the first losses and the FLOP/s of a large product go; then names come
        and times go.
    """
    import torch

    from benchmarks.torch_embedding import make_step as torch_step

    FLAGS(argv)
    batches = make_batches(rows, FLAGS.steps)
    offsets = np.arange(COLUMNS) * (rows // COLUMNS)
    ids = [torch.tensor(each + offsets) for each in batches["ids"]]
    labels = [torch.tensor(each.T.copy()) for each in batches["labels"]]
    steps, losses = {}, []
    for way, weighting in names:
        method = "sum" if weighting == "static" else weighting
        _, step = torch_step(make_params(rows), method, way == "sparse")
        losses.append(np.array([float(loss.detach()) for loss in step(ids[0], labels[0])]))
        steps[way, weighting] = step
    square = torch.ones(square_side(), square_side())
    rate = 2 * square_side() ** 3 / fastest(lambda: square @ square)
    pipe.send((torch.__version__, losses, rate))
    while (name := pipe.recv()) is not None:
        pipe.send(torch_seconds(steps[name], ids, labels))


def ask(pipe: Any, name: tuple[str, str]) -> float:
    """Has the other process run one call and returns what it says of its time."""
    pipe.send(name)
    return pipe.recv()


def torch_seconds(step: Callable[..., Any], ids: list[Any], labels: list[Any]) -> float:
    """Runs one step per batch and returns the mean time."""
    start = time.perf_counter()
    for each, label in zip(ids, labels, strict=True):
        step(each, label)
    return (time.perf_counter() - start) / len(ids)


def first_losses(rows: int, params: Any) -> np.ndarray:
    """The losses of the first batch at the initial parameters, by this library."""
    batch = {k: jnp.asarray(v[0]) for k, v in make_batches(rows, FLAGS.steps).items()}
    loss_fn = make_loss_fn(make_model(rows), make_tasks())
    return np.asarray(jax.jit(loss_fn)(params, batch, jax.random.key(1)))


def main(argv: list[str]) -> None:
    """Runs the parts asked for."""
    del argv
    if FLAGS.measure_memory:
        train_and_print_peak(FLAGS.measure_memory)
        return
    device = jax.devices()[0].device_kind
    units = ", ".join(map(str, bottom_units()))
    print(
        f"{device}, jax {jax.__version__}; {FLAGS.rounds} rounds, {FLAGS.steps} steps a call; bottom {units}"
    )
    parts = {
        "unique": measure_unique,
        "steps": measure_steps,
        "cut": measure_cut,
        "memory": measure_memory,
        "torch": measure_torch,
    }
    results = [row for part in parts if part in FLAGS.only for row in parts[part]()]
    if FLAGS.json:
        write_atomic(FLAGS.json, to_json(results, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
