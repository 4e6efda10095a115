"""Side by side with TorchJD in one process: a full training step, and aggregation alone.

    pip install -e .[peers]
    python -m benchmarks.against_torchjd                  # tables on stdout, ten minutes on 2 cores
    python -m benchmarks.against_torchjd --json=out.json
    python -m benchmarks.against_torchjd --one_core       # CPU time on one core, where others use the machine
    python -m benchmarks.against_torchjd --device=gpu     # the same tables on a GPU that both can use

The same MMoE (8 experts, one gate and tower per task), batch, Adam and initial parameters on both sides;
losses and aggregated gradients are compared before anything is timed. Balancers act on the experts; gates,
towers and heads get their own task's gradient. A step is everything, one call per step, waited for; a column
of its own shows this library's time with ten steps per call, as its training loop runs them.

TorchJD runs in the fastest of its documented ways per cell (`WAYS`), with fused Adam and one thread per core.
The methods take turns, round after round. A speed-up is TorchJD's fastest step of all rounds over this
library's; minimum, median and maximum over rounds of the ratio of the rounds' fastest steps stand beside it.
Not the mean: when another process takes a core, PyTorch's threads wait for each other, by up to 0.2 s a step.
"""

import itertools
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # two frameworks share a GPU's memory

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

try:
    import torch

    from benchmarks.torch_mmoe import AGGREGATORS, LEARNING_RATE, WAYS, Trainee, make_trainee, wait
except ImportError as e:
    sys.exit(f"benchmarks.against_torchjd needs PyTorch and TorchJD ({e}); run: pip install -e .[peers]")

FLAGS = flags.FLAGS
flags.DEFINE_multi_integer("tasks", [2, 4, 8], "Numbers of tasks T.")
flags.DEFINE_multi_integer("batch", [256, 2048], "Batch sizes.")
flags.DEFINE_integer("columns", 1_000_000, "Columns of the Jacobians that are only aggregated.")
flags.DEFINE_integer("rounds", 9, "Rounds in which every method is timed once.")
flags.DEFINE_float("seconds", 0.15, "Shortest time of one measurement, in seconds.")
flags.DEFINE_enum("device", "cpu", ["cpu", "gpu"], "Where both sides run.")
flags.DEFINE_bool("one_core", False, "Run on one core, a thread each, and count CPU time.")
flags.DEFINE_string("json", None, "Also write the figures to this file.")

STEPS_PER_CALL = 10
FEATURES, EXPERTS, WIDTH, TOWER = 128, 8, 64, 32
LOSS_TOLERANCE = 1e-5
SPEED_UP, SLOWEST_CELL, TAP_RATIO = 4.0, 1.5, 1.5

OURS: dict[str, dict[str, Any]] = {
    "mgda": {"name": "mgda"},
    "upgrad": {"name": "upgrad"},
    "nash_mtl": {"name": "nash_mtl"},
    "cagrad": {"name": "cagrad", "c": 0.5, "rescale": "none"},
    "pcgrad": {"name": "pcgrad"},
    "mgda_tap": {"name": "mgda", "tap": True},
}
"""The weighting beside each aggregator; `mgda_tap` is set against TorchJD's MGDA."""

HEADER = " T  batch  method    theirs ms   ours ms  ten/call  speed-up      min  median     max"

Step = Callable[[], Any]


class Problem(NamedTuple):
    """What both sides train: the model, its data, its initial parameters, and which of them are shared."""

    model: Any
    tasks: tuple[Task, ...]
    batch: dict[str, jax.Array]
    params: Any
    shared: Any


def make_problem(num_tasks: int, batch_size: int) -> Problem:
    tasks = tuple(Task(f"task_{t}") for t in range(num_tasks))
    schema = Schema((), tuple(f"x{i}" for i in range(FEATURES)), tasks)
    sizes = {"num_experts": EXPERTS, "expert_features": (WIDTH,), "tower_features": (TOWER,)}
    model = build_model({"name": "mmoe", **sizes}, schema)
    rng = np.random.default_rng(0)
    batch = {
        "ids": jnp.zeros((batch_size, 0), jnp.int32),
        "numeric": jnp.asarray(rng.normal(size=(batch_size, FEATURES)), jnp.float32),
        "labels": jnp.asarray(rng.integers(0, 2, size=(batch_size, num_tasks)), jnp.float32),
    }
    params = model.init(jax.random.key(0), batch)["params"]
    shared = find_ownership(model, tasks, params, jax.tree.map(lambda x: x[:4], batch)).shared
    return Problem(model, tasks, batch, params, shared)


def our_update(problem: Problem, method: str) -> tuple[Callable[..., Any], Any]:
    """Returns `update(params, state, batch) -> (gradient, state)`, what comes before Adam, and its state."""
    loss_fn = make_loss_fn(problem.model, problem.tasks)
    key = jax.random.key(1)
    if method == "sum":
        return lambda p, s, batch: (jax.grad(lambda p: jnp.sum(loss_fn(p, batch, key)))(p), s), ()
    weighting = weightings.build(OURS[method], kinds=["binary"] * len(problem.tasks), shared=problem.shared)

    def update(params, state, batch):
        place = (shared_tap if method == "mgda_tap" else task_cut)(problem.model, params, batch)
        losses, jac = task_jacobian(loss_fn, params, batch, key, tap=place)
        return weighting.update(jac, state, params, losses=losses)

    return update, weighting.init(problem.params)


def our_step(problem: Problem, method: str, steps: int) -> Step:
    """Compiles some steps; the returned function runs them once and waits."""
    update, state = our_update(problem, method)
    adam = optax.adam(LEARNING_RATE)

    def one(carry, batch):
        params, weighting_state, adam_state = carry
        gradient, weighting_state = update(params, weighting_state, batch)
        change, adam_state = adam.update(gradient, adam_state, params)
        return optax.apply_updates(params, change), weighting_state, adam_state

    def several(carry, batch):
        return jax.lax.fori_loop(0, steps, lambda _, c: one(c, batch), carry)

    run = jax.jit(one if steps == 1 else several, donate_argnums=0)
    held = [jax.tree.map(jnp.copy, (problem.params, state, adam.init(problem.params)))]

    def step():
        held[0] = jax.block_until_ready(run(held[0], problem.batch))

    return step


def trainee(problem: Problem, method: str, way: str) -> Trainee:
    return make_trainee(problem.params, problem.batch, method, WAYS[way], torch_device())


def torch_device() -> str:
    return "cuda" if FLAGS.device == "gpu" else "cpu"


def differences(problem: Problem, method: str, way: str) -> tuple[float, float]:
    """Largest difference of the losses, and of the experts' gradient relative to its largest entry."""
    peer = trainee(problem, method, way)
    update, state = our_update(problem, method)
    with jax.default_matmul_precision("highest"):
        ours = make_loss_fn(problem.model, problem.tasks)(problem.params, problem.batch, jax.random.key(1))
        gradient, _ = jax.jit(update)(problem.params, state, problem.batch)
    theirs = np.array([loss.item() for loss in peer.gradients()])
    expected = peer.model.experts.weight.grad.cpu().numpy().reshape(EXPERTS, WIDTH, FEATURES)
    found = np.asarray(gradient["extractor"]["experts"]["dense0"]["kernel"]).transpose(0, 2, 1)
    gap = np.abs(found - expected).max() / np.abs(expected).max()
    return float(np.abs(np.asarray(ours) - theirs).max()), float(gap)


def fastest(step: Step) -> float:
    """Runs steps for some time and returns the seconds of the shortest."""
    clock = time.process_time if FLAGS.one_core else time.perf_counter
    best, end = math.inf, clock() + FLAGS.seconds
    while clock() < end:
        start = clock()
        step()
        best = min(best, clock() - start)
    return best


def in_turns(steps: dict[str, Step]) -> dict[str, list[float]]:
    """Times all steps in turns; returns the seconds of every round."""
    for step in steps.values():
        for _ in range(3):
            step()  # compiles and warms up
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(FLAGS.rounds):
        for name, step in steps.items():
            times[name].append(fastest(step))
    return times


def summarise(theirs: list[float], ours: list[float]) -> dict[str, float]:
    """Both sides' milliseconds, the speed-up, and its spread over rounds."""
    best = {"theirs_ms": 1e3 * min(theirs), "ours_ms": 1e3 * min(ours), "speed_up": min(theirs) / min(ours)}
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    return best | {"min": min(ratios), "median": statistics.median(ratios), "max": max(ratios)}


def measure_step(num_tasks: int, batch_size: int) -> list[dict[str, Any]]:
    """Finds TorchJD's fastest way, checks and times all methods for one T and batch size."""
    problem = make_problem(num_tasks, batch_size)
    trial = in_turns({way: trainee(problem, "upgrad", way).step for way in WAYS})
    order = sorted(WAYS, key=lambda way: min(trial[way]))
    print(f"\nT = {num_tasks}, batch {batch_size}; TorchJD's UPGrad, ms: ", end="")
    print("; ".join(f"{way} {1e3 * min(trial[way]):.2f}" for way in order), flush=True)

    # NashMTL takes the Jacobian itself, which autogram never forms; the sum needs only the stacked layout.
    by_jacobian = next(way for way in order if way != "autogram")
    ways = dict.fromkeys(AGGREGATORS, order[0]) | {"nash_mtl": by_jacobian, "sum": "backward"}
    gaps, steps = {}, {}
    for method, way in ways.items():
        losses, gaps[method] = differences(problem, method, way)
        if not losses <= LOSS_TOLERANCE:
            sys.exit(f"losses differ by {losses:.1e} for {method}: the two sides train different models")
        steps[f"theirs {method}"] = trainee(problem, method, way).step
    for method in ("sum", *OURS):
        steps[f"ours {method}"] = our_step(problem, method, 1)
        steps[f"ten {method}"] = our_step(problem, method, STEPS_PER_CALL)
    if FLAGS.device == "gpu":
        torch.set_float32_matmul_precision("high")  # XLA's default; the check above ran at full precision
    times = in_turns(steps)
    torch.set_float32_matmul_precision("highest")

    cells = []
    for method in ("sum", *OURS):
        peer = "mgda" if method == "mgda_tap" else method
        ours, ours_sum = times[f"ours {method}"], times["ours sum"]
        cell: dict[str, Any] = {"tasks": num_tasks, "batch": batch_size, "method": method}
        cell |= summarise(times[f"theirs {peer}"], ours)
        cell["ours_ten_ms"] = 1e3 * min(times[f"ten {method}"]) / STEPS_PER_CALL
        cell["over_sum"] = min(ours) / min(ours_sum)
        cells.append(cell | {"way": ways[peer], "difference": gaps.get(method)})
        print_cell(cells[-1])
    return cells


def measure_aggregation(num_tasks: int) -> list[dict[str, Any]]:
    """Times the methods alone on a Jacobian of normal entries with one conflicting pair."""
    jacobian = np.random.default_rng(0).normal(size=(num_tasks, FLAGS.columns)).astype(np.float32)
    jacobian[1] -= jacobian[0]
    ours, losses = jnp.asarray(jacobian), jnp.ones(num_tasks)
    theirs = torch.tensor(jacobian, device=torch_device())

    def our_call(method: str) -> Step:
        weighting = weightings.build(OURS[method], kinds=["binary"] * num_tasks)
        update = jax.jit(lambda jacobian, state: weighting.update(jacobian, state, losses=losses))
        state = weighting.init(ours[0])
        return lambda: jax.block_until_ready(update(ours, state))

    def their_call(method: str) -> Step:
        aggregator = AGGREGATORS[method](num_tasks)

        def call():
            aggregator(theirs)
            wait(torch_device())

        return call

    steps = {f"theirs {method}": their_call(method) for method in AGGREGATORS}
    steps |= {f"ours {method}": our_call(method) for method in AGGREGATORS}
    times = in_turns(steps)
    cells = []
    for method in AGGREGATORS:
        cell = {"tasks": num_tasks, "method": method}
        cells.append(cell | summarise(times[f"theirs {method}"], times[f"ours {method}"]))
        print_cell(cells[-1])
    return cells


def print_cell(cell: dict[str, Any]) -> None:
    line = f"{cell['tasks']:>2} {cell.get('batch', ''):>6}  {cell['method']:<9} {cell['theirs_ms']:>9.3f} "
    line += f"{cell['ours_ms']:>9.3f} {cell.get('ours_ten_ms', math.nan):>9.3f}  "
    line += f"{cell['speed_up']:>7.2f}  {cell['min']:>7.2f} {cell['median']:>7.2f} {cell['max']:>7.2f}"
    if "way" in cell:
        gap = "" if cell["difference"] is None else f"{cell['difference']:.0e}"
        line += f"   {cell['over_sum']:>5.2f}  {gap:>5}  {cell['way']}"
    print(line, flush=True)


def verdict(name: str, value: float, target: float, met: bool) -> None:
    print(f"{name}: {value:.2f}, target {target:.1f}, {'met' if met else 'MISSED'}")


def conclude(name: str, cells: Sequence[dict[str, Any]]) -> None:
    """Prints the geometric mean and the slowest cell against their targets."""
    speed_ups = [cell["speed_up"] for cell in cells if cell["method"] in AGGREGATORS]
    mean = math.exp(statistics.fmean(map(math.log, speed_ups)))
    print()
    verdict(f"{name}, geometric mean of {len(speed_ups)} speed-ups", mean, SPEED_UP, mean >= SPEED_UP)
    verdict(f"{name}, slowest cell", min(speed_ups), SLOWEST_CELL, min(speed_ups) >= SLOWEST_CELL)


def choose_device() -> str:
    """Puts this library where the flags say; returns the device's name."""
    if FLAGS.one_core:
        if FLAGS.device == "gpu":
            sys.exit("--one_core counts CPU time, which says nothing about a GPU; leave one of them out")
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if FLAGS.device == "cpu":
        jax.config.update("jax_platforms", "cpu")
        return "cpu"
    try:
        jax.config.update("jax_default_device", jax.devices("gpu")[0])
    except RuntimeError:
        sys.exit("skipped: jax finds no GPU; run with --device=cpu")
    if not torch.cuda.is_available():
        sys.exit("skipped: PyTorch finds no GPU; run with --device=cpu")
    return torch.cuda.get_device_name()


def main(argv: list[str]) -> None:
    """Measures all cells and prints the tables."""
    del argv
    device = choose_device()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    print(f"{device}, {torch.get_num_threads()} threads; jax {jax.__version__}, torch {torch.__version__}")
    print(f"full step, {FLAGS.rounds} rounds; the last columns: ours over our plain sum, largest relative")
    print(f"difference of the experts' gradient before the first step, TorchJD's way\n{HEADER}")
    pairs = itertools.product(FLAGS.tasks, FLAGS.batch)
    steps = [cell for num_tasks, size in pairs for cell in measure_step(num_tasks, size)]
    print(f"\naggregation alone, T × {FLAGS.columns} float32\n{HEADER}")
    alone = [cell for num_tasks in FLAGS.tasks for cell in measure_aggregation(num_tasks)]
    conclude("full step", steps)
    taps = [c["over_sum"] for c in steps if c["method"] == "mgda_tap" and c["batch"] >= 2048]
    if taps:
        verdict("MGDA-tap over our plain sum, largest", max(taps), TAP_RATIO, max(taps) <= TAP_RATIO)
    conclude("aggregation alone", alone)
    if FLAGS.json:
        write_atomic(FLAGS.json, to_json({"step": steps, "aggregation": alone}, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
