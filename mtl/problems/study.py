"""Runs the study of a problem: one compiled program per weighting, resumable after each."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax.numpy as jnp

from mtl import weightings
from mtl.problems.descend import Descent, descent_program
from mtl.problems.plan import Group, Plan, make_weighting
from mtl.problems.store import clean, load_group, save_group, write_problem, write_results
from mtl.progress import Progress
from mtl.sweep.config import without_label
from mtl.train import Stopped, chain, stream_key
from mtl.types import Array


def run_plan(plan: Plan, workdir: Path, stop_requested: Callable[[], bool] = lambda: False) -> list[str]:
    """Runs every weighting that is not finished and writes its file and the results after each.

    Args:
      plan: the study.
      workdir: its folder.
      stop_requested: asked before every weighting; true ends the study.

    Returns:
      One line per run that failed.

    Raises:
      Stopped: `stop_requested` said so; the same call continues later.
    """
    clean(workdir)
    write_problem(workdir, plan)
    loaded = {group.id: load_group(workdir, plan, group) for group in plan.groups}
    finished = {name: content for name, content in loaded.items() if content is not None}
    failures = write_results(workdir, plan, finished)
    todo = [group for group in plan.groups if group.id not in finished]
    steps = plan.settings.steps * len(plan.groups[0].runs)
    done = steps * len(finished)
    # Compiling takes about as long as running, so others are compiled while one runs.
    pool = ThreadPoolExecutor(max_workers=2)
    try:
        programs = [pool.submit(_compile, plan, group) for group in todo]
        with Progress(steps * len(plan.groups), "steps", done) as progress:
            for group, program in zip(todo, programs):
                progress.label(group.label)
                run = program.result()
                if stop_requested():
                    raise Stopped
                finished[group.id] = save_group(workdir, plan, group, run(*_inputs(plan, group)))
                failures = write_results(workdir, plan, finished)
                progress.advance(steps)
    finally:
        pool.shutdown(cancel_futures=True)
    return failures


def _inputs(plan: Plan, group: Group) -> tuple[Array, Array]:
    """Starts `[S, D]` and keys `[S]` of a group's runs."""
    starts = jnp.asarray([plan.problem.starts[seed] for seed in group.runs], jnp.float32)
    return starts, jnp.stack([stream_key(seed, "weighting") for seed in group.runs])


def _compile(plan: Plan, group: Group) -> Callable[[Array, Array], Descent]:
    problem, steps = plan.problem, plan.settings.steps
    bound = jnp.asarray(problem.lower_bound, jnp.float32)
    program = descent_program(
        lambda point: problem.loss_fn(point) - bound,
        chain(make_weighting(problem, group.spec, plan.every), plan.settings, steps),
        weightings.needs(without_label(group.spec)),
        num_tasks=len(plan.tasks),
        num_steps=steps,
        every=plan.every,
    )
    return program.lower(*_inputs(plan, group)).compile()
