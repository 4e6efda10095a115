"""What a run of a sweep costs: alone, in a group under every layout, and in a plain PyTorch loop.

    python -m benchmarks.groups                     # table on stdout, two minutes on 2 cores
    python -m benchmarks.groups --json=out.json

The MMoE paper's models (100 inputs, 8 experts of 16 units or 113 shared units, towers of 8, two regression
tasks), 10,000 rows, Adam. `alone` is one compiled run on one device with all its cores. The layouts are those
of `mtl.train.layout`: a device takes its runs one by one or all at once, on one device or on one simulated
device per core (on an accelerator: on all). `torch` is the same model in eager PyTorch: one run, rows
permuted once, fused Adam, one thread per core and again with one thread, of which the faster counts; it is
left out where PyTorch is missing. All take turns, round after round; a cell is the fastest of its rounds, and
ratios are within this one process.
"""

import math
import os
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from absl import app, flags

from mtl import weightings
from mtl.data import mmoe_synthetic
from mtl.files import to_json, write_atomic
from mtl.models import build_model
from mtl.train import (
    Stack,
    TrainSettings,
    budget,
    chain,
    group_data,
    layout_for,
    model_program,
    one_device_per_core,
    train_program,
)
from mtl.train.layout import put_by_run

try:
    import torch
except ImportError:
    torch = None

FLAGS = flags.FLAGS
flags.DEFINE_multi_enum("models", ["sb", "omoe", "mmoe"], ["sb", "omoe", "mmoe"], "Which models.")
flags.DEFINE_multi_integer("batch", [128, 512], "Batch sizes.")
flags.DEFINE_integer("runs", 16, "Runs in a group.")
flags.DEFINE_integer("rounds", 7, "Rounds in which every way is timed once.")
flags.DEFINE_string("json", None, "Also write the figures to this file.")

STEPS = 200
SIZES = {"num_experts": 8, "expert_features": (16,), "tower_features": (8,)}
SPECS: dict[str, dict[str, Any]] = {
    "sb": {"name": "shared_bottom", "bottom_features": (113,), "tower_features": (8,)},
    "omoe": {"name": "omoe", **SIZES},
    "mmoe": {"name": "mmoe", **SIZES},
}
LAYOUTS = {
    "alone": (1, 1, True),
    "at once": (1, None, False),
    "one by one": (1, None, True),
    "at once, all devices": (None, None, False),
    "one by one, all devices": (None, None, True),
}
"""Devices (None: all), runs (None: a group), and whether a device takes them one by one."""

Call = Callable[[], None]


def make_ours(model: str, batch_size: int, devices: int | None, runs: int | None, one_by_one: bool) -> Call:
    """Compiles STEPS steps of a group; the returned function runs them and waits."""
    dataset = mmoe_synthetic()
    settings = TrainSettings(batch_size=batch_size, steps=STEPS, eval_every=STEPS, steps_per_call=STEPS)
    lengths = budget(settings, len(dataset.splits["train"]["labels"]))
    built = weightings.build("static", kinds=[t.kind for t in dataset.schema.tasks])
    module = build_model(SPECS[model], dataset.schema)
    count = runs or FLAGS.runs
    layout = layout_for(count, jax.local_devices()[:devices])._replace(one_by_one=one_by_one)
    train = train_program(
        module,
        dataset.schema.tasks,
        lambda numbers: chain(built, settings._replace(**numbers), lengths.steps),
        lengths,
        batch_size,
        layout,
    )
    data = group_data([dataset.splits], 8192, layout)
    rates = {"learning_rate": np.full(count, 1e-3, np.float32)}
    stack = put_by_run(Stack(np.arange(count, dtype=np.uint32), np.zeros(count, np.int32), rates), layout)
    params = model_program(module, layout).init(stack.seeds, {k: v[0, :1] for k, v in data.train.items()})
    held = [train.start(params, stack)]

    def call():
        held[0], _ = jax.block_until_ready(train.advance(held[0], stack, data.train, np.int32(0)))

    return call


def make_torch(model: str, batch_size: int, threads: int) -> Call:
    """The same in PyTorch, one run."""
    split = mmoe_synthetic().splits["train"]
    rows, labels = torch.tensor(split["numeric"]), torch.tensor(split["labels"])
    linear, relu = torch.nn.Linear, torch.nn.functional.relu
    gates = {"sb": 0, "omoe": 1, "mmoe": 2}[model]
    width = 113 if model == "sb" else 16
    experts = linear(100, width if model == "sb" else 8 * width)
    towers = torch.nn.ModuleList(
        torch.nn.Sequential(linear(width, 8), torch.nn.ReLU(), linear(8, 1)) for _ in "ab"
    )
    gate = linear(100, 8 * gates, bias=False) if gates else None
    modules = [experts, towers, *([gate] if gate is not None else [])]
    optimizer = torch.optim.Adam([p for m in modules for p in m.parameters()], 1e-3, fused=True)

    def loss(x, y):
        z = relu(experts(x))
        if gate is None:
            seen = (z, z)
        else:
            weights = torch.softmax(gate(x).view(len(x), gates, 8), -1)
            mixed = torch.bmm(weights, z.view(len(x), 8, width))
            seen = (mixed[:, 0], mixed[:, -1])
        return sum(((tower(h)[:, 0] - y[:, t]) ** 2).mean() for t, (tower, h) in enumerate(zip(towers, seen)))

    def call():
        torch.set_num_threads(threads)
        order = torch.randperm(len(rows))
        for step in range(STEPS):
            start = step * batch_size % (len(rows) - batch_size)
            index = order[start : start + batch_size]
            optimizer.zero_grad()
            loss(rows[index], labels[index]).backward()
            optimizer.step()

    return call


def measure(model: str, batch_size: int) -> dict[str, Any]:
    """Times all ways; microseconds per run and step."""
    calls = {name: make_ours(model, batch_size, *how) for name, how in LAYOUTS.items()}
    if torch is not None:
        for threads in sorted({1, len(os.sched_getaffinity(0))}):
            calls[f"torch, {threads} threads"] = make_torch(model, batch_size, threads)
    best = dict.fromkeys(calls, math.inf)
    for turn in range(FLAGS.rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:  # the first warms up
                best[name] = min(best[name], time.perf_counter() - start)
    runs = {name: (LAYOUTS[name][1] or FLAGS.runs) if name in LAYOUTS else 1 for name in calls}
    cell = {name: 1e6 * seconds / runs[name] / STEPS for name, seconds in best.items()}
    return {"model": model, "batch": batch_size, "microseconds": cell}


def main(argv: list[str]) -> None:
    """Measures all cells and prints the table."""
    del argv
    devices = f"{jax.default_backend()} x {jax.local_device_count()}"
    print(f"{devices}, jax {jax.__version__}; groups of {FLAGS.runs} runs")
    print("microseconds per run and step, and in brackets relative to a run alone")
    cells = []
    for model in FLAGS.models:
        for batch_size in FLAGS.batch:
            cells.append(measure(model, batch_size))
            found = cells[-1]["microseconds"]
            print(f"\n{model}, batch {batch_size}")
            for name, value in found.items():
                print(f"  {name:<26} {value:8.1f}  ({value / found['alone']:.2f})", flush=True)
            peers = [value for name, value in found.items() if name.startswith("torch")]
            if peers:
                chosen = found[
                    "one by one, all devices" if jax.default_backend() == "cpu" else "at once, all devices"
                ]
                print(f"  a group is {min(peers) / chosen:.1f} times as fast per run as PyTorch")
    if FLAGS.json:
        write_atomic(FLAGS.json, to_json(cells, indent=1) + "\n")


if __name__ == "__main__":
    one_device_per_core()
    app.run(main)
