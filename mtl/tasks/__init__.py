"""Tasks: what is predicted, on which rows, and at what loss."""

from mtl.tasks.task import KINDS, Task, task_graph, topological_order

__all__ = ["KINDS", "Task", "task_graph", "topological_order"]
