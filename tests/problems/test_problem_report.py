"""The table of a problem's study: order, medians, and what a failed run leaves out."""

import csv
import io

import numpy as np

from mtl.report.problem_files import Problem, ProblemStudy, Run
from mtl.report.problem_table import problem_csv, problem_rows, problem_text

PROBLEM = Problem("toy2d", (), 0.01, *np.zeros((6, 1)))


def run_with(seed, distance=None, balance=None, steps=100.0):
    values = {}
    if distance is not None:
        both = {"distance_to_front": distance, "reached": float(balance is not None), "residual": 1e-7 * seed}
        values = {("both", metric): value for metric, value in both.items()}
        values |= {("l1", "loss"): -1.0 - seed, ("l2", "loss"): -2.0 + seed}
    if balance is not None:
        values |= {("both", "balance"): balance, ("both", "steps_to_front"): steps}
    return Run(seed, np.zeros((2, 2)), np.zeros((2, 2)), values)


def rows_of(**runs):
    return problem_rows(ProblemStudy("study", {}, PROBLEM, runs))


def test_rows_stand_by_starts_reached_and_then_by_balance():
    rows = rows_of(
        lost=(run_with(0), run_with(1)),
        edge=(run_with(0, 1e-4, 0.0), run_with(1, 1e-4, 1.0)),
        half=(run_with(0, 1e-9, 0.5), run_with(1, 0.9)),
        middle=(run_with(0, 1e-3, 0.4), run_with(1, 1e-3, 0.5)),
    )
    assert [row.weighting for row in rows] == ["middle", "edge", "half", "lost"]


def test_a_row_by_hand():
    (row,) = rows_of(
        x=(run_with(0, 0.002, 0.2, 100.0), run_with(1, 0.004, 0.6, 300.0), run_with(2, 0.9), run_with(3))
    )
    assert row.reached == (True, True, False, False)
    assert (row.distance_median, row.distance_max) == (0.004, 0.9)  # over the three runs that have a result
    np.testing.assert_allclose(row[4:8], [0.4, 0.2, 0.6, 200.0])
    np.testing.assert_allclose(row[8:], [-3.0, -2.0, 2e-7])


def test_a_row_without_a_result_is_empty_and_not_zero():
    rows = rows_of(lost=(run_with(0), run_with(1)))
    (found,) = csv.DictReader(io.StringIO(problem_csv(rows)))
    assert (found["weighting"], found["starts"], found["reached"]) == ("lost", "2", "0")
    assert {value for key, value in found.items() if key not in ("weighting", "starts", "reached")} == {""}
    line = problem_text("study", rows).splitlines()[2]
    assert line.split() == ["lost", "0/2", "××", *["–"] * 7]
