"""Runs a plan: group after group, resumable at any moment."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mtl.progress import Progress
from mtl.sweep.plan import Group, Plan, weighting_label
from mtl.sweep.programs import Programs
from mtl.sweep.store import clean, group_folder, load_group, save_group, write_results
from mtl.train import train_group

WRITE_SECONDS = 20.0
"""Shortest time between two rewritings of the result files while a study runs."""


def run_plan(plan: Plan, workdir: Path, stop_requested: Callable[[], bool] = lambda: False) -> list[str]:
    """Trains every group that is not finished and writes the result files after each.

    Args:
      plan: the study.
      workdir: its folder.
      stop_requested: asked after every compiled call; true ends the study with a checkpoint.

    Returns:
      One line per run that failed.

    Raises:
      Stopped: `stop_requested` said so; the same call continues later.
    """
    clean(workdir)
    programs = Programs(plan)
    total = sum(g.budget.steps * len(g.runs) for g in plan.groups)
    write_results(workdir, plan)
    written = time.monotonic()
    todo = [g for g in plan.groups if load_group(workdir, g) is None]
    done = total - sum(g.budget.steps * len(g.runs) for g in todo)
    # While a group trains, the next one is compiled.
    with Progress(total, "steps", done) as progress, ThreadPoolExecutor(max_workers=1) as ahead:
        following = [ahead.submit(programs.compile, group) for group in todo[:1]]
        for i, group in enumerate(todo):
            name = title(plan, group)
            progress.label(name)
            start = time.monotonic()
            compiled = following.pop().result()
            if i + 1 < len(todo):
                following.append(ahead.submit(programs.compile, todo[i + 1]))
            results = train_group(
                *compiled,
                plan.tasks,
                group.runs[0].settings,
                group.budget,
                programs.data(group),
                programs.stack(group),
                folder=group_folder(workdir, group),
                progress=progress,
                stop_requested=stop_requested,
            )
            save_group(workdir, plan, group, results)
            if time.monotonic() - written > WRITE_SECONDS:
                write_results(workdir, plan)
                written = time.monotonic()
            seconds = time.monotonic() - start
            examples = group.budget.steps * group.runs[0].settings.batch_size * len(group.runs)
            progress.note(
                f"{name}: {len(group.runs)} runs of {group.budget.steps} steps in {seconds:.1f} s, "
                f"{examples / seconds:,.0f} examples/s"
            )
    return write_results(workdir, plan)


def title(plan: Plan, group: Group) -> str:
    """How progress names a group: its number, model and weightings."""
    number = plan.groups.index(group) + 1
    labels = list(dict.fromkeys(weighting_label(plan, run) for run in group.runs))
    more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
    return f"[{number}/{len(plan.groups)}] {plan.models[group.model][0]} x {labels[0]}{more}"
