"""The pages in docs/: their examples run as printed, their tables name what is really there."""

import csv
import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

import run
from mtl import sweep
from mtl.data import DATASETS
from mtl.extractors import EXTRACTORS
from mtl.fusion import FUSIONS
from mtl.models import ENCODERS
from mtl.side_towers import SIDE_TOWERS
from mtl.transfers import TRANSFERS
from mtl.weightings import WEIGHTINGS

ROOT = Path(__file__).parents[2]
EXTENDING = ROOT / "docs" / "extending.md"
FILES = ROOT / "docs" / "files.md"
DATA = ROOT / "docs" / "data.md"
FUSION = ROOT / "docs" / "fusion.md"
SCALE = ROOT / "docs" / "scale.md"
PAGES = (ROOT / "README.md", DATA, EXTENDING, FILES, FUSION, SCALE)
DICTS: tuple[dict[str, Any], ...] = (WEIGHTINGS, EXTRACTORS, ENCODERS, TRANSFERS, SIDE_TOWERS, DATASETS)


def examples(page: Path) -> list[tuple[str, str]]:
    """The Python blocks of a page, each with the heading above it."""
    found, heading = [], ""
    for match in re.finditer(r"^## ([^\n]*)$|^```python\n(.*?)^```$", page.read_text(), re.M | re.S):
        if match[1]:
            heading = match[1]
        else:
            found.append((heading, match[2]))
    return found


def execute(code: str, name: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": name}
    exec(compile(code, name, "exec"), namespace)
    return namespace


@pytest.fixture(autouse=True)
def _restored():
    """Takes back what examples and studies leave in the process: lines in the dicts, signal handlers."""
    before = [dict(names) for names in DICTS]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for names, old in zip(DICTS, before, strict=True):
        names.clear()
        names.update(old)
    for number, handler in handlers.items():
        signal.signal(number, handler)


EXAMPLES = [*examples(EXTENDING), *examples(FUSION), *examples(SCALE)]


@pytest.mark.parametrize(
    "code", [code for _, code in EXAMPLES], ids=[f"{i}-{h}" for i, (h, _) in enumerate(EXAMPLES)]
)
def test_example_runs_and_its_assertions_hold(code):
    assert "assert" in code or "get_config" in code
    execute(code, "example")


@pytest.mark.parametrize(
    "heading, names, name",
    [
        ("A weighting", WEIGHTINGS, "random"),
        ("An extractor", EXTRACTORS, "film"),
        ("A transfer", TRANSFERS, "residual"),
        ("A side tower", SIDE_TOWERS, "position"),
        ("A data set and its tasks", DATASETS, "watching"),
    ],
)
def test_every_kind_of_part_has_an_example_that_is_not_part_of_the_library(heading, names, name):
    (code,) = (code for above, code in EXAMPLES if above == heading)
    assert f'["{name}"] = ' in code
    assert f'the line "{name}": ' in code
    assert name not in names


def test_fusion_page_lists_every_formula_with_its_parameters():
    text = FUSION.read_text()
    for name, formula in FUSIONS.items():
        (line,) = (line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        assert re.findall(r"`(\w+)`", line) == [name, *formula.parameters]


def study() -> str:
    (code,) = (code for heading, code in examples(EXTENDING) if heading == "A study")
    return code


def test_study_is_planned_with_the_baseline_and_without_a_model_twice():
    config = sweep.check_config(sweep.plain(execute(study(), "study")["get_config"]()))
    plan = sweep.make_plan(config)
    assert [name for name, _, _ in plan.models] == ["single_task", "shared_bottom", "mmoe-4"]
    methods = [(group.model, run.weighting) for group in plan.groups for run in group.runs]
    assert sorted(set(methods), key=str) == [(0, None), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert len(methods) == 2 * 5 * config["seeds"]  # correlations × methods × seeds


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """The folder that the study of the page leaves, with fewer methods than on the page."""
    root = tmp_path_factory.mktemp("study")
    (root / "my_study.py").write_text(study())
    folder = root / "runs" / "quickstart"
    arguments = [
        f"--config={root / 'my_study.py'}",
        "--config.models=('mmoe',)",
        "--config.weightings=('static',)",
        "--config.sweep.dataset.correlation=(0.8,)",
        f"--workdir={folder}",
    ]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    assert run.main(["run.py", *arguments]) == 0
    for number, handler in handlers.items():
        signal.signal(number, handler)
    return folder


def in_backticks(page: Path) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", page.read_text()))


def test_files_page_names_every_file_of_a_study(workdir):
    text = FILES.read_text()
    listed = set(re.findall(r"^    (\S+)", text, re.M)) | in_backticks(FILES)
    for path in workdir.iterdir():
        assert path.name in listed or any(name.startswith(f"{path.name}/") for name in listed), path.name
    for plot in (workdir / "plots").iterdir():
        assert plot.name in listed
    for group in (workdir / "checkpoints").iterdir():
        assert re.fullmatch(r"(single_task|mmoe)-static-[0-9a-f]{8}", group.name)
        assert {path.name for path in group.iterdir()} == {"result.json", "memory.json", "last"}


def test_files_page_names_every_column_and_key(workdir):
    named = in_backticks(FILES)
    for table in ("results.csv", "summary.csv"):
        with (workdir / table).open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert set(rows[0]) <= named
        assert {row["metric"] for row in rows} <= named
    config = json.loads((workdir / "config.json").read_text())
    assert {*config, *config["config"], *config["provenance"], *config["tasks"][0]} <= named
    for line in (workdir / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        assert {*record, record["kind"]} <= named
        for gate in record.get("gates", {}).values():
            assert set(gate) <= named
    result = json.loads(next(workdir.glob("checkpoints/*/result.json")).read_text())
    assert {*result, *result["runs"][0]} <= named


def test_trained_parameters_are_read_as_the_files_page_says(workdir, monkeypatch):
    monkeypatch.chdir(workdir.parents[1])
    ((_, code),) = examples(FILES)
    found = execute(code, "checkpoint")
    assert [key["seed"] for key in found["runs"]] == [0, 1]
    assert found["best"]["params"]["extractor"]["gate"]["dense"]["kernel"].shape == (2, 2, 8, 8)
    assert found["variables"]["params"]["extractor"]["gate"]["dense"]["kernel"].shape == (2, 8, 8)


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"(?<!!)\[[^\]]*\]\(([^)]+)\)", page.read_text())
    for link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
