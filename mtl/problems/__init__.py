"""Analytic problems: what a weighting does where the answer is known.

`toy2d()` gives the problem, with its losses, published starts and exact Pareto front; `descent_program`
follows a weighting on any function of one point; `make_plan` and `run_plan` make a study of it, as those of
`mtl.sweep` do of a data set. To add a problem, write a file like `toy2d.py` and a line in `PROBLEMS`.
"""

from mtl.problems.descend import Descent, descent_program
from mtl.problems.plan import PROBLEMS, Plan, is_problem, make_plan
from mtl.problems.store import REACHED
from mtl.problems.study import run_plan
from mtl.problems.toy2d import STARTS, Toy2D, toy2d

__all__ = [
    "PROBLEMS",
    "REACHED",
    "STARTS",
    "Descent",
    "Plan",
    "Toy2D",
    "descent_program",
    "is_problem",
    "make_plan",
    "run_plan",
    "toy2d",
]
