"""After training: calibrated predictions of several tasks become one score per row, to rank a request by.

Pure NumPy functions in float64. `FUSIONS` has the formulas; `search_fusion` chooses their parameters on
validation.
"""

from mtl.fusion.calibrate import Isotonic, Platt, fit_isotonic, fit_platt, undo_downsampling
from mtl.fusion.formula import Formula, Parameter
from mtl.fusion.fuse import FUSIONS, fuse
from mtl.fusion.length import LengthCurve, adjust_for_length, fit_length_curve
from mtl.fusion.search import FusionSearch, search_fusion

__all__ = [
    "FUSIONS",
    "Formula",
    "FusionSearch",
    "Isotonic",
    "LengthCurve",
    "Parameter",
    "Platt",
    "adjust_for_length",
    "fit_isotonic",
    "fit_length_curve",
    "fit_platt",
    "fuse",
    "search_fusion",
    "undo_downsampling",
]
