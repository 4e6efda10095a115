"""Tasks: what is predicted, on which rows, and at what loss."""

from mtl.tasks.conditional import conditional_losses
from mtl.tasks.losses import LOSSES, task_loss
from mtl.tasks.losses.bpr import bpr_in_batch, bpr_loss
from mtl.tasks.losses.distillation import distillation_loss
from mtl.tasks.losses.loss import Argument, Loss
from mtl.tasks.losses.sampled_softmax import in_batch_softmax_loss, sampled_softmax_loss
from mtl.tasks.losses.triplet import triplet_loss
from mtl.tasks.serve import served
from mtl.tasks.task import KINDS, Task, required_tasks, task_graph, topological_order
from mtl.tasks.task_losses import task_losses

__all__ = [
    "KINDS",
    "LOSSES",
    "Argument",
    "Loss",
    "Task",
    "bpr_in_batch",
    "bpr_loss",
    "conditional_losses",
    "distillation_loss",
    "in_batch_softmax_loss",
    "required_tasks",
    "sampled_softmax_loss",
    "served",
    "task_graph",
    "task_loss",
    "task_losses",
    "topological_order",
    "triplet_loss",
]
