"""Models: any encoder, extractor and transfer; a published model is a row of `PRESETS`."""

from mtl.models.build import PRESETS, build_model, model_arguments
from mtl.models.encoders import ENCODERS
from mtl.models.model import MultiTaskModel, initial_variables
from mtl.models.probe import gate_diagnostics, shared_tap, task_cut, zero_perturbations

__all__ = [
    "ENCODERS",
    "PRESETS",
    "MultiTaskModel",
    "build_model",
    "gate_diagnostics",
    "initial_variables",
    "model_arguments",
    "shared_tap",
    "task_cut",
    "zero_perturbations",
]
