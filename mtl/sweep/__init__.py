"""Studies: config → plan → groups of runs → result files."""

from mtl.sweep.config import check_config, plain, study_config
from mtl.sweep.engine import run_plan
from mtl.sweep.estimate import describe
from mtl.sweep.plan import Group, Plan, Run, make_plan
from mtl.sweep.provenance import provenance
from mtl.sweep.store import write_results

__all__ = [
    "Group",
    "Plan",
    "Run",
    "check_config",
    "describe",
    "make_plan",
    "plain",
    "provenance",
    "run_plan",
    "study_config",
    "write_results",
]
