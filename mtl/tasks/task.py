"""What a task is: a name, a kind of label, and its place in the task graph."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from mtl.errors import InputError

Kind = Literal["binary", "multiclass", "regression"]
KINDS: tuple[str, ...] = get_args(Kind)


class Task(NamedTuple):
    """One objective.

    Attributes:
      name: column name of the label; unique in a data set.
      kind: `binary` (label 0 or 1, one logit), `multiclass` (label 0…K−1, K logits) or `regression`
        (real label, one output).
      num_classes: K of a multiclass task; ignored otherwise.
      parents: names of the tasks whose outcome this one depends on (edges of the task graph).
      requires: names of the parents without whose event this task's event cannot happen, such as the click
        of a purchase; both tasks are binary then.
      loss: name of its loss among those of its kind, see `mtl.tasks.LOSSES`; "" for the usual one.
      loss_arguments: the loss's arguments that are not at their defaults, as pairs of name and number.
    """

    name: str
    kind: Kind = "binary"
    num_classes: int = 2
    parents: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    loss: str = ""
    loss_arguments: tuple[tuple[str, float], ...] = ()

    @property
    def num_outputs(self) -> int:
        """Number of network outputs K: the classes of a multiclass task, else 1."""
        return self.num_classes if self.kind == "multiclass" else 1


def task_graph(tasks: Sequence[Task]) -> tuple[tuple[int, ...], ...]:
    """Resolves the parents' names to positions and checks that the graph has no cycle.

    Args:
      tasks: T tasks.

    Returns:
      For each task the positions of its parents, in the order in which they are declared.

    Raises:
      InputError: two tasks share a name, a kind or a parent is unknown, a task requires one that is no binary
        parent of it, or the graph has a cycle (the message spells it out).
    """
    names = [t.name for t in tasks]
    binary = {t.name for t in tasks if t.kind == "binary"}
    for t in tasks:
        if names.count(t.name) > 1:
            raise InputError(f"task name {t.name!r} appears twice; task names must be unique")
        if t.kind not in KINDS:
            raise InputError(f"task {t.name!r}: kind {t.kind!r} is not one of {', '.join(KINDS)}")
        for parent in t.parents:
            if parent not in names:
                raise InputError(
                    f"task {t.name!r}: parent {parent!r} is not a task; tasks are {', '.join(names)}"
                )
        for required in t.requires:
            if required not in t.parents:
                raise InputError(
                    f"task {t.name!r} requires {required!r}, which is not among its parents "
                    f"({', '.join(t.parents) or 'none'}); add it to parents"
                )
            if not {t.name, required} <= binary:
                raise InputError(f"task {t.name!r} requires {required!r}; both must be binary")
    parents = tuple(tuple(names.index(p) for p in t.parents) for t in tasks)
    topological_order(parents, names)
    return parents


def required_tasks(tasks: Sequence[Task]) -> tuple[tuple[int, ...], ...]:
    """Finds the events that a task's event implies: those that it requires, and what these require.

    Args:
      tasks: T tasks, of a sound graph.

    Returns:
      For each task the positions of all tasks that it requires, directly or through others, in rising order.
    """
    names = [t.name for t in tasks]
    direct = [{names.index(r) for r in t.requires} for t in tasks]
    closed: dict[int, set[int]] = {}
    for t in topological_order([sorted(d) for d in direct], names):
        closed[t] = direct[t].union(*(closed[r] for r in direct[t]))
    return tuple(tuple(sorted(closed[t])) for t in range(len(tasks)))


def topological_order(
    parents: Sequence[Sequence[int]], names: Sequence[str] | None = None
) -> tuple[int, ...]:
    """Orders tasks so that every parent comes before its children.

    Args:
      parents: for each of T tasks the positions of its parents.
      names: T names for the error message; positions are shown without it.

    Returns:
      The T positions in topological order; ties keep the declared order.

    Raises:
      InputError: the graph has a cycle, which the message spells out.
    """
    order: list[int] = []
    while len(order) < len(parents):
        ready = [t for t, ps in enumerate(parents) if t not in order and all(p in order for p in ps)]
        if not ready:
            node = next(t for t in range(len(parents)) if t not in order)
            path: list[int] = []
            while node not in path:
                path.append(node)
                node = next(p for p in parents[node] if p not in order)
            cycle = [*path[path.index(node) :], node]
            label = [names[t] if names else str(t) for t in cycle]
            raise InputError(f"the task graph has a cycle: {' -> '.join(label)}; remove one edge")
        order.append(ready[0])
    return tuple(order)
