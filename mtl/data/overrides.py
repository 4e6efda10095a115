"""Changes to the tasks of a data set that do not touch its columns: other losses, another task graph."""

from collections.abc import Mapping, Sequence
from typing import Any

from mtl.data.dataset import Dataset
from mtl.errors import InputError, unknown_name
from mtl.tasks import Task, task_loss


def with_losses(dataset: Dataset, losses: Mapping[str, Any]) -> Dataset:
    """Gives tasks other losses.

    Args:
      dataset: the data set.
      losses: task's name → name of a loss, or a mapping with its `name` and its arguments, such as
        `{"click": {"name": "focal", "gamma": 1.0}}`.

    Returns:
      The data set with these losses; tasks that are not named keep theirs.

    Raises:
      InputError: a task, a loss or an argument is unknown, or an argument is out of range.
    """
    named = _by_task("losses", dataset, losses)
    tasks = []
    for task in dataset.schema.tasks:
        if task.name in named:
            spec = named[task.name]
            given = dict(spec) if isinstance(spec, Mapping) else {"name": spec}
            name = given.pop("name", None)
            if not isinstance(name, str):
                raise InputError(
                    f"losses: {task.name!r} has {spec!r}, expected a name, or a mapping with a 'name'"
                )
            task = task._replace(loss=name, loss_arguments=tuple(sorted(given.items())))
            task_loss(task)
        tasks.append(task)
    return _with_tasks(dataset, tasks)


def with_parents(dataset: Dataset, parents: Mapping[str, Any]) -> Dataset:
    """Gives tasks other parents.

    Args:
      dataset: the data set.
      parents: task's name → names of its parents.

    Returns:
      The data set with these edges; tasks that are not named keep theirs. `validate` checks the graph.

    Raises:
      InputError: a task is unknown, or the parents are not a tuple of names.
    """
    named = _by_task("parents", dataset, parents)
    for name, above in named.items():
        if (
            isinstance(above, str)
            or not isinstance(above, Sequence)
            or not all(isinstance(parent, str) for parent in above)
        ):
            raise InputError(f"parents: {name!r} has {above!r}, expected a tuple of names of tasks")
    return _with_tasks(
        dataset,
        [
            task._replace(parents=tuple(named[task.name])) if task.name in named else task
            for task in dataset.schema.tasks
        ],
    )


def _by_task(argument: str, dataset: Dataset, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise InputError(f"{argument} is {given!r}, expected a mapping from names of tasks")
    names = [task.name for task in dataset.schema.tasks]
    for name in given:
        if name not in names:
            raise unknown_name(f"task in {argument}:", name, names)
    return given


def _with_tasks(dataset: Dataset, tasks: Sequence[Task]) -> Dataset:
    return dataset._replace(schema=dataset.schema._replace(tasks=tuple(tasks)))
