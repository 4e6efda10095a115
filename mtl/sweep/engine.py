"""Runs a plan: group after group, resumable at any moment."""

import errno
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mtl.progress import Progress
from mtl.sweep.hosts import ALONE, Hosts, deal, leave, meet
from mtl.sweep.plan import Group, Plan, beginning, group_tasks, weighting_label
from mtl.sweep.programs import Programs
from mtl.sweep.store import (
    clean,
    group_folder,
    load_group,
    save_group,
    save_input,
    save_memory,
    write_results,
)
from mtl.train import InputTime, Memory, train_group

COMPILERS = 2
"""Groups that are compiled at a time, ahead of the one that trains."""

WRITE_SECONDS = 20.0
"""Shortest time between two rewritings of the result files while a study runs."""

WRITE_SHARE = 30.0
"""The time between them is at least so many times what the last one took: they grow with the study."""

SIGHT_SECONDS = 120.0
"""Longest time that a file on a shared file system may stay out of sight of other hosts."""


def run_plan(
    plan: Plan,
    workdir: Path,
    stop_requested: Callable[[], bool] = lambda: False,
    hosts: Hosts = ALONE,
) -> list[str]:
    """Trains every group that is not finished and writes the result files after each.

    Args:
      plan: the study.
      workdir: its folder.
      stop_requested: asked after every compiled call; true ends the study with a checkpoint.
      hosts: the processes among which the groups are dealt out, or which train each of them together; process
        0 writes the result files.

    Returns:
      One line per run that failed; of several processes only the first has any.

    Raises:
      Stopped: `stop_requested` said so; the same call continues later.
      OSError: the files of another process have not come into sight.
    """
    first = hosts.this == 0
    programs = Programs(plan)
    unfinished: list[Group] = []
    if first:
        clean(workdir)
        write_results(workdir, plan)
        unfinished = [g for g in plan.groups if load_group(workdir, g) is None]
    due = time.monotonic() + WRITE_SECONDS
    mine = set(deal(hosts, [g.id for g in unfinished], "groups"))
    todo = [g for g in plan.groups if g.id in mine]
    counted = todo if hosts.number > 1 else plan.groups
    total = sum(g.budget.steps * len(g.runs) for g in counted)
    done = total - sum(g.budget.steps * len(g.runs) for g in todo)
    runs_in_all = sum(len(g.runs) for g in counted)
    runs_done = runs_in_all - sum(len(g.runs) for g in todo)
    # While a group trains, the next ones are compiled.
    with Progress(total, "steps", done) as progress, ThreadPoolExecutor(COMPILERS) as ahead:
        following = deque(ahead.submit(programs.compile, group) for group in todo[:COMPILERS])
        for i, group in enumerate(todo):
            name = title(plan, group)
            progress.label(f"{runs_done}/{runs_in_all} runs, {name}")
            start = time.monotonic()
            compiled = following.popleft().result()
            for later in todo[i + COMPILERS : i + COMPILERS + 1]:
                following.append(ahead.submit(programs.compile, later))
            waited: list[InputTime] = []
            held: list[Memory] = []
            results = train_group(
                *compiled,
                group_tasks(plan, group),
                group.runs[0].settings,
                group.budget,
                programs.data(group),
                programs.stack(group),
                folder=group_folder(workdir, group),
                progress=progress,
                stop_requested=stop_requested,
                begin=beginning(plan, group),
                on_input=waited.append,
                on_memory=held.append,
            )
            if first or not hosts.together:
                for found in waited:
                    save_input(workdir, group, found)
                for memory in held:
                    save_memory(workdir, group, memory)
                save_group(workdir, plan, group, results)
            runs_done += len(group.runs)
            progress.label(f"{runs_done}/{runs_in_all} runs, {name}")
            if first and time.monotonic() > due:
                began = time.monotonic()
                write_results(workdir, plan)
                due = time.monotonic() + max(WRITE_SECONDS, WRITE_SHARE * (time.monotonic() - began))
            seconds = time.monotonic() - start
            examples = group.budget.steps * group.runs[0].settings.batch_size * len(group.runs)
            progress.note(
                f"{name}: {len(group.runs)} runs of {group.budget.steps} steps in {seconds:.1f} s, "
                f"{examples / seconds:,.0f} examples/s"
                + "".join(f", {memory.total / 2**20:,.1f} MiB per device" for memory in held)
                + "".join(f", waited {found.wait_share:.1%} of the training for rows" for found in waited)
            )
    meet(hosts, "trained")
    leave(hosts)
    if not first:
        return []
    wait_for_files(workdir, plan)
    return write_results(workdir, plan)


def wait_for_files(workdir: Path, plan: Plan) -> None:
    """Waits for results that other processes have written; a shared file system shows them a little later.

    Args:
      workdir: the study's folder.
      plan: the study, all of whose groups are done.

    Raises:
      OSError: one has not come into sight.
    """
    until = time.monotonic() + SIGHT_SECONDS
    for group in plan.groups:
        path = group_folder(workdir, group) / "result.json"
        while not path.exists():
            if time.monotonic() > until:
                raise OSError(errno.ENOENT, "written by another process, but out of sight here", str(path))
            time.sleep(0.5)


def title(plan: Plan, group: Group) -> str:
    """How progress names a group: its number, model and weightings."""
    number = plan.groups.index(group) + 1
    labels = list(dict.fromkeys(weighting_label(plan, run) for run in group.runs))
    more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
    return f"[{number}/{len(plan.groups)}] {plan.models[group.model][0]} x {labels[0]}{more}"
