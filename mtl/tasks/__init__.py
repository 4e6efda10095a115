"""Tasks: what is predicted, on which rows, and at what loss."""

from mtl.tasks.conditional import conditional_losses
from mtl.tasks.losses import LOSSES, binary_loss, multiclass_loss, squared_loss, task_losses
from mtl.tasks.task import KINDS, Task, required_tasks, task_graph, topological_order

__all__ = [
    "KINDS",
    "LOSSES",
    "Task",
    "binary_loss",
    "conditional_losses",
    "multiclass_loss",
    "required_tasks",
    "squared_loss",
    "task_graph",
    "task_losses",
    "topological_order",
]
