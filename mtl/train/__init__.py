"""Training: settings, the pure step, the compiled group of runs, the loop around it."""

from mtl.train.loop import GroupData, RunResult, Stopped, group_data, train_group
from mtl.train.optimizer import chain
from mtl.train.program import ModelProgram, model_program, train_program
from mtl.train.random import stream_key
from mtl.train.settings import Budget, TrainSettings, budget, train_settings
from mtl.train.step import StepMetrics, TrainState, find_ownership, make_loss_fn, make_step

__all__ = [
    "Budget",
    "GroupData",
    "ModelProgram",
    "RunResult",
    "StepMetrics",
    "Stopped",
    "TrainSettings",
    "TrainState",
    "budget",
    "chain",
    "find_ownership",
    "group_data",
    "make_loss_fn",
    "make_step",
    "model_program",
    "stream_key",
    "train_group",
    "train_program",
    "train_settings",
]
