"""Models: any encoder, extractor and transfer; a published model is a row of `PRESETS`."""

from mtl.models.build import PRESETS, build_model, model_arguments
from mtl.models.encoders import ENCODERS
from mtl.models.model import MultiTaskModel, initial_variables
from mtl.models.probe import gate_diagnostics, shared_tap, task_cut, zero_perturbations
from mtl.models.tables import FusedTable, fused_table

__all__ = [
    "ENCODERS",
    "PRESETS",
    "FusedTable",
    "MultiTaskModel",
    "build_model",
    "fused_table",
    "gate_diagnostics",
    "initial_variables",
    "model_arguments",
    "shared_tap",
    "task_cut",
    "zero_perturbations",
]
