"""Command lines run in this process: a small study in an empty folder, and what a call left behind."""

import signal
from typing import Any, NamedTuple

import pytest

import run

SMALL: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "mmoe_synthetic", "dim": 4, "num_train": 64, "num_val": 16, "num_test": 16},
    "models": ("shared_bottom",),
    "weightings": ("static",),
    "seeds": 1,
    "train": {"batch_size": 16, "steps": 2},
    "report": {"baseline": ""},
}


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self):
        return self.err.splitlines()


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MTL_DATA_DIR", "MTL_MANUAL_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def write_study(tmp_path):
    """Returns a function that writes the small study with changes; mappings are merged into its own."""

    def write(**changes):
        content = dict(SMALL)
        for key, value in changes.items():
            merge = isinstance(value, dict) and key in content
            content[key] = {**content[key], **value} if merge else value
        path = tmp_path / "small.py"
        path.write_text(
            "from mtl.sweep import study_config\n\n"
            f"def get_config():\n    return study_config(**{content!r})\n"
        )
        return path

    return write


@pytest.fixture
def cli(capfd):
    """Returns a function that runs one command line in this process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*arguments):
        capfd.readouterr()
        code = run.main(["run.py", *map(str, arguments)])
        return Outcome(code, *capfd.readouterr())

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


def tree(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if "__pycache__" not in p.parts)


@pytest.fixture
def refused(cli, tmp_path):
    """Returns a function that runs a command line and gives the one line with which it is refused."""

    def call(*arguments):
        before = tree(tmp_path)
        outcome = cli(*arguments)
        assert outcome.code == 2, outcome
        assert outcome.out == ""
        assert len(outcome.lines) == 1, outcome.err
        assert outcome.err.startswith("mtl: ")
        assert "Traceback" not in outcome.err
        assert tree(tmp_path) == before
        return outcome.err

    return call
