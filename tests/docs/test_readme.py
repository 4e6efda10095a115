"""README.md: its script runs and its tables are complete."""

import re
from pathlib import Path

import numpy as np
import pytest

import run
from mtl.data import DATASETS
from mtl.extractors import EXTRACTORS
from mtl.metrics import METRICS
from mtl.models import ENCODERS, PRESETS
from mtl.side_towers import SIDE_TOWERS
from mtl.tasks import LOSSES
from mtl.transfers import TRANSFERS
from mtl.weightings import WEIGHTINGS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()


def section(heading: str) -> str:
    return TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def rows(column: str) -> dict[str, list[str]]:
    """First cells of the table whose first heading is `column`, with the other cells."""
    lines = iter(section("What there is").splitlines())
    for line in lines:
        if line.startswith(f"| {column} |"):
            break
    next(lines)
    found = {}
    for line in lines:
        if not line.startswith("|"):
            return found
        first, *rest = (cell.strip() for cell in line.strip("|").split("|"))
        found |= dict.fromkeys(re.findall(r"`([^`]+)`", first), rest)
    return found


def test_script_needs_fifteen_lines_and_only_the_weightings_and_the_jacobian(capsys):
    (script,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)
    assert len(script.strip().splitlines()) <= 15
    assert re.findall(r"^from mtl.*|import mtl.*", script, re.M) == [
        "from mtl import task_jacobian, weightings"
    ]
    found: dict = {}
    exec(compile(script, "README.md", "exec"), found)
    losses = np.asarray(found["losses"])
    assert losses.shape == (300, 2)
    assert (losses[-1] < 0.5 * losses[0]).all()
    assert type(found["params"]) is dict
    words = capsys.readouterr().out.split()
    assert words[0] == "losses"
    assert "weights" in words


@pytest.mark.parametrize(
    "column, names",
    [
        ("data set", DATASETS),
        ("encoder", ENCODERS),
        ("extractor", EXTRACTORS),
        ("transfer", TRANSFERS),
        ("side tower", SIDE_TOWERS),
        ("model (preset)", PRESETS),
        ("weighting", WEIGHTINGS),
    ],
)
def test_table_lists_exactly_what_there_is(column, names):
    assert set(rows(column)) == set(names)


def test_studies_table_lists_every_study_file():
    files = {p.relative_to(ROOT).as_posix() for p in (ROOT / "experiments").glob("*.py")}
    assert set(rows("studies")) == files - {"experiments/__init__.py"}


def test_models_table_gives_each_presets_parts():
    for name, (parts,) in rows("model (preset)").items():
        extractor, transfer = PRESETS[name]["extractor"], PRESETS[name]["transfer"]
        assert f"`{transfer}`" in parts
        assert f"`{extractor}` ×" in parts or (extractor == name and "of that name ×" in parts)


def test_losses_are_listed_below_their_kinds():
    found = rows("loss")
    kinds = {
        name: {k for k, losses in LOSSES.items() if name in losses} for k in LOSSES for name in LOSSES[k]
    }
    assert set(found) == set(kinds)
    for name, (of, arguments) in found.items():
        assert set(re.findall(r"\w+", of)) == kinds[name]
        for losses in (LOSSES[kind] for kind in kinds[name]):
            for key, argument in losses[name].arguments.items():
                assert f"`{key}={argument.default:g}`" in arguments


def test_metrics_of_every_kind_of_task_are_listed_in_order():
    text = section("What there is")
    for kind, metrics in METRICS.items():
        (line,) = (line for line in text.splitlines() if line.startswith(f"| {kind} |"))
        assert re.findall(r"`([^`]+)`", line) == list(metrics)


def test_command_lines_are_those_of_the_program():
    command = re.compile(r"^    python run\.py.*$", re.M)
    assert command.findall(section("Studies")) == command.findall(run.__doc__ or "")


def test_flags_named_are_flags_of_the_program(capsys):
    assert run.main(["run.py", "--help"]) == 0
    known = set(re.findall(r"--(\w+)", capsys.readouterr().out))
    assert set(re.findall(r"--(\w+)", section("Studies"))) <= known


def test_exit_codes_are_those_of_the_program():
    said = re.search(r"Exit codes: (.*?)\.\n", run.__doc__ or "", re.S)
    assert said is not None
    for part in said[1].split(", "):
        assert part in " ".join(section("Studies").split())
