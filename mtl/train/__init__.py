"""Training: settings, the pure step, the compiled group of runs, the loop around it."""

from mtl.train.checkpoint import read_best
from mtl.train.feed import Feed, InputTime
from mtl.train.layout import Layout, layout_for, layout_of, one_device_per_core, one_run, shapes_on
from mtl.train.loop import GroupData, Read, RunResult, Stopped, group_data, load_call, train_group
from mtl.train.memory import Memory, memory_of
from mtl.train.optimizer import Scope, chain
from mtl.train.program import ModelProgram, Stack, TrainProgram, model_program, train_program
from mtl.train.random import stream_key
from mtl.train.settings import DEVICE_KEYS, Budget, TrainSettings, budget, train_settings
from mtl.train.sparse import SparseRows, on_rows, sparse_rows
from mtl.train.step import StepMetrics, TrainState, find_ownership, make_loss_fn, make_step
from mtl.train.transfer import held, part_mask, warm_start

__all__ = [
    "DEVICE_KEYS",
    "Budget",
    "Feed",
    "GroupData",
    "InputTime",
    "Layout",
    "Memory",
    "ModelProgram",
    "Read",
    "RunResult",
    "Scope",
    "SparseRows",
    "Stack",
    "StepMetrics",
    "Stopped",
    "TrainProgram",
    "TrainSettings",
    "TrainState",
    "budget",
    "chain",
    "find_ownership",
    "group_data",
    "held",
    "layout_for",
    "layout_of",
    "load_call",
    "make_loss_fn",
    "make_step",
    "memory_of",
    "model_program",
    "on_rows",
    "one_device_per_core",
    "one_run",
    "part_mask",
    "read_best",
    "shapes_on",
    "sparse_rows",
    "stream_key",
    "train_group",
    "train_program",
    "train_settings",
    "warm_start",
]
