"""What a study would take: runs, programs, memory and time, measured on one call of every program."""

import time
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from mtl.progress import Progress
from mtl.sweep.engine import title
from mtl.sweep.plan import Group, Plan
from mtl.sweep.programs import Compiled, Programs
from mtl.train import load_call, memory_of
from mtl.train.layout import put_by_run


class Estimate(NamedTuple):
    """The cost of one group.

    Attributes:
      group: its name.
      runs: number of runs.
      steps: steps of each run.
      memory: bytes on each device while it trains, the data included.
      compile_seconds: time to compile its program; 0 where an earlier group has compiled it.
      train_seconds: time of all training calls and looks at validation, without the host's metrics.
    """

    group: str
    runs: int
    steps: int
    memory: int
    compile_seconds: float
    train_seconds: float


def estimate(plan: Plan) -> Iterator[Estimate]:
    """Compiles every program of a study and times one call of it.

    Args:
      plan: the study.

    Yields:
      One estimate per group, in order.
    """
    programs = Programs(plan)
    measured: dict[int, tuple[float, int]] = {}
    for group in plan.groups:
        before, start = programs.count, time.monotonic()
        compiled = programs.compile(group)
        compile_seconds = time.monotonic() - start if programs.count > before else 0.0
        key = id(compiled.train)
        if key not in measured:
            measured[key] = _measure(programs, group, compiled)
        seconds, memory = measured[key]
        yield Estimate(
            title(plan, group), len(group.runs), group.budget.steps, memory, compile_seconds, seconds
        )


def _measure(programs: Programs, group: Group, compiled: Compiled) -> tuple[float, int]:
    """Seconds to train a group, from the second of two calls, and bytes per device."""
    layout, model, train = compiled
    data, runs = programs.data(group), put_by_run(programs.stack(group), layout)
    params = model.init(runs.seeds, {k: v[0, :1] for k, v in data.train.items()})
    state = train.start(params, runs)
    columns = load_call(data, layout, group.budget)(0)
    calls, looks = [], []
    for _ in range(2):
        start = time.monotonic()
        state, _ = jax.block_until_ready(train.advance(state, runs, columns, np.int32(0)))
        calls.append(time.monotonic() - start)
        start = time.monotonic()
        jax.block_until_ready(model.predict(state.variables, runs.source, data.evals["val"]))
        looks.append(time.monotonic() - start)
    budget = group.budget
    seconds = calls[1] * budget.steps / budget.steps_per_call + looks[1] * budget.steps / budget.eval_every
    return seconds, memory_of(state, params, columns, (data.evals, data.probe), train.advance).total


def describe(plan: Plan) -> Iterator[str]:
    """Says in lines what a study would take, the last ones being the sums.

    Args:
      plan: the study.

    Yields:
      A heading, one line per group, and the sums.
    """
    runs = sum(len(group.runs) for group in plan.groups)
    yield f"{'runs':>6} {'steps':>8} {'MiB':>8} {'compile s':>10} {'train s':>9}  group"
    found = []
    with Progress(len(plan.groups), "groups", quiet=True) as progress:
        for e in estimate(plan):
            found.append(e)
            progress.advance(1)
            yield (
                f"{e.runs:>6} {e.steps:>8,} {e.memory / 2**20:>8,.1f} {e.compile_seconds:>10.1f} "
                f"{e.train_seconds:>9.1f}  {e.group}"
            )
    compiled = [e.compile_seconds for e in found if e.compile_seconds]
    seconds = sum(e.train_seconds for e in found)
    examples = sum(len(g.runs) * g.budget.steps * g.runs[0].settings.batch_size for g in plan.groups)
    yield (
        f"{runs} runs in {len(found)} groups on {jax.local_device_count()} devices; "
        f"{examples:,} examples; at most {max(e.memory for e in found) / 2**20:,.1f} MiB per device"
    )
    yield (
        f"{len(compiled)} compilations, {sum(compiled):.0f} s; training about {_duration(seconds)}, "
        f"{runs / seconds * 3600:,.0f} runs/h"
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
