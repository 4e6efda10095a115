"""docs/sweeps.md: its studies run as printed, its tables and flags name what is really there."""

import csv
import json
import re
import shlex
import signal
from pathlib import Path

import pytest

import run
from mtl.sweep.space import DEFAULTS, RANGES

PAGE = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text()
GRID, SEARCH = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
COMMANDS = [shlex.split(c) for c in re.findall(r"^    python run\.py (.*)$", PAGE, re.M)]
HOSTS = [c for c in COMMANDS if any(a.startswith("--coordinator") for a in c)]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    Path("my_sweep.py").write_text(GRID)
    Path("my_search.py").write_text(SEARCH)
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def call(*arguments):
    return run.main(["run.py", *arguments])


def table(first):
    """The cells of the first column of a table."""
    rows = PAGE[PAGE.index(f"| {first} |") :].split("\n\n")[0].splitlines()[2:]
    return [row.split(" | ")[0].removeprefix("| ") for row in rows]


def test_the_dry_run_says_what_the_page_says(capsys):
    (dry,) = (c for c in COMMANDS if "--dry_run" in c)
    assert call(*dry) == 0
    runs, groups = re.search(r"^(\d+) runs in (\d+) groups", capsys.readouterr().out, re.M).groups()
    said = " ".join(PAGE.split())
    assert f"The study above has {runs} runs and {groups} groups" in said
    assert f'"""{runs} runs of 40 steps."""' in GRID


@pytest.mark.slow
def test_the_commands_of_one_host_run_as_printed():
    shared, cut, _, resume = (c for c in COMMANDS if c not in HOSTS)
    assert call(*shared) == 0
    assert call(*cut) == 0
    assert call("--config=my_sweep.py") == 0
    assert call(*resume) == 0
    # Smaller groups give the same results.
    assert (
        Path("runs/small_groups/results.csv").read_bytes() == Path("runs/my_sweep/results.csv").read_bytes()
    )
    # Shared programs give them up to rounding.
    assert values("runs/exploration") == pytest.approx(values("runs/my_sweep"), rel=1e-3)


def values(folder):
    with Path(folder, "results.csv").open(newline="") as file:
        return {tuple(row[:9]): float(row[9]) for row in list(csv.reader(file))[1:]}


def test_the_search_runs_as_printed():
    pytest.importorskip("optuna", reason="needs the extra `search`")
    assert call("--config=my_search.py") == 0
    told = json.loads(Path("runs/my_search/search.json").read_text())
    assert set(told) == {"single_task x static", "shared_bottom x static", "shared_bottom x uwl"}
    assert {len(method["trials"]) for method in told.values()} == {8}


def test_the_commands_of_two_hosts_differ_in_the_process_only():
    first, second = HOSTS
    assert [a for a in first if a not in second] == ["--process_id=0"]
    assert [a for a in second if a not in first] == ["--process_id=1"]


def test_flags_named_are_flags_of_the_program(capsys):
    assert call("--help") == 0
    known = set(re.findall(r"--(\w+)", capsys.readouterr().out))
    assert set(re.findall(r"`?--(\w+)", PAGE)) - {"xla_force_host_platform_device_count"} <= known


def test_the_tables_name_all_keys_and_ranges():
    assert re.findall(r"`(\w+)`", " ".join(table("key"))) == [
        *("train", "dataset", "models", "weightings", "trials", "batch", "seeds"),
        *("objective", "sampler", "pruner", "storage"),
    ]
    assert set(re.findall(r"`(\w+)`", " ".join(table("key")))) == set(DEFAULTS)
    assert [re.match(r'`\("(\w+)"', cell)[1] for cell in table("range")] == list(RANGES)


def test_the_defaults_are_those_of_the_program():
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", PAGE[PAGE.index("| key |") :], re.M)
    assert {key: json.loads(value.strip("`")) for key, value in rows} == {
        key: value for key, value in DEFAULTS.items() if not isinstance(value, dict)
    }
