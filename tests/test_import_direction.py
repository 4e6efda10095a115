"""The direction of imports: each package imports only what its row names, function-level imports included."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ALLOWED = {
    "columns": {"errors"},
    "compilation": set(),
    "errors": set(),
    "files": set(),
    "progress": set(),
    "types": set(),
    "jacobian": {"errors", "types"},
    "ownership": {"compilation", "errors", "types"},
    "tasks": {"errors", "types"},
    "solvers": {"types"},
    "metrics": {"errors", "tasks"},
    "data": {"columns", "errors", "progress", "tasks", "third_party", "types"},
    "layers": {"tasks", "types"},
    "extractors": {"errors", "layers", "types"},
    "side_towers": {"columns", "data", "errors", "layers", "types"},
    "fusion": {"errors", "metrics"},
    "transfers": {"errors", "layers", "tasks", "types"},
    "models": {
        *("columns", "data", "errors", "extractors", "jacobian", "layers", "side_towers", "tasks"),
        *("transfers", "types"),
    },
    "weightings": {"errors", "jacobian", "solvers", "types"},
    "embedding": {"errors", "types"},
    "personalised": {"errors", "jacobian", "types"},
    "train": {
        *(
            "compilation",
            "embedding",
            "errors",
            "jacobian",
            "metrics",
            "models",
            "ownership",
            "progress",
            "tasks",
        ),
        *("types", "weightings"),
    },
    "sweep": {
        *("data", "errors", "extractors", "files", "metrics", "models", "progress", "tasks", "train"),
        *("ownership", "transfers", "types", "weightings"),
    },
    "problems": {
        *("errors", "files", "jacobian", "progress", "sweep", "tasks", "train", "types", "weightings"),
    },
    "report": {"errors", "files", "metrics", "tasks"},
    "__init__": {"jacobian", "ownership", "weightings"},
    "experiments": {"sweep"},
    "third_party": {"errors"},
}
"""Package → what it may import. `run.py` and `benchmarks` stand above all of them."""


def sources():
    """Every Python file of the library, its studies and `third_party`, with the package it belongs to."""
    for path in sorted((ROOT / "mtl").rglob("*.py")):
        yield path.relative_to(ROOT / "mtl").parts[0].removesuffix(".py"), path
    for package in ("experiments", "third_party"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield package, path


def imported(path):
    """The packages that a file imports, among those of this repository."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            base = start + (node.module or "")
            names = [f"{base.rstrip('.')}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "mtl":
                yield parts[1] if len(parts) > 1 else "__init__"
            elif parts[0] in ("experiments", "third_party", "benchmarks", "tests", "run"):
                yield parts[0]


def test_every_package_has_a_row():
    assert {package for package, _ in sources()} == set(ALLOWED)


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_its_row_names(package):
    for owner, path in sources():
        if owner == package:
            strange = set(imported(path)) - ALLOWED[package] - {package}
            assert not strange, f"{path.relative_to(ROOT)} imports {', '.join(sorted(strange))}"


@pytest.mark.parametrize("package", ALLOWED)
def test_a_row_names_only_what_is_imported(package):
    """A permission that nobody needs would let the direction slip unseen."""
    used = {name for owner, path in sources() if owner == package for name in imported(path)}
    assert not ALLOWED[package] - used, f"unused: {sorted(ALLOWED[package] - used)}"


def test_the_rows_have_no_cycle():
    left = dict(ALLOWED)
    while left:
        free = [package for package, may in left.items() if not may & set(left)]
        assert free, f"a cycle among {', '.join(left)}"
        for package in free:
            del left[package]


def test_the_reader_of_imports_sees_every_form(tmp_path, monkeypatch):
    monkeypatch.setattr("test_import_direction.ROOT", tmp_path)
    (tmp_path / "mtl" / "data").mkdir(parents=True)
    path = tmp_path / "mtl" / "data" / "one.py"
    path.write_text(
        "import mtl.train.loop\nfrom mtl import sweep\nfrom mtl.report.page import page\n"
        "from . import two\nfrom ..models import build\nimport third_party.published\nimport numpy\n"
        "def late():\n    from experiments import census\n"
    )
    assert sorted(imported(path)) == [
        *("data", "experiments", "models", "report", "sweep", "third_party", "train")
    ]
