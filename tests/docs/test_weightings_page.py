"""docs/weightings.md: its examples run, its tables are complete, and its columns are what the code does."""

import ast
import functools
import importlib.util
import inspect
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl import task_jacobian, weightings
from mtl.compilation import compile_quickly
from mtl.errors import InputError
from mtl.jacobian import TaskJacobian
from mtl.weightings import NEEDS, SCALARIZATIONS, WEIGHTINGS
from mtl.weightings.build import UNWEIGHTED

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "weightings.md"
TEXT = PAGE.read_text()
GIVEN = {"num_tasks", "shared"}  # arguments of nearly every factory
NUM_TASKS = 3


def tables(heading: str) -> list[list[dict[str, str]]]:
    """The tables below a heading, up to the next one: their rows, by column."""
    lines = (
        re.split(rf"^##+ {re.escape(heading)}\n", TEXT, flags=re.M)[1].split("\n## ")[0].split("\n### ")[0]
    )
    found: list[list[dict[str, str]]] = []
    columns: list[str] = []
    for line in lines.splitlines():
        if not line.startswith("|"):
            columns = []
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not columns:
            columns = cells
            found.append([])
        elif not line.startswith("|---"):
            found[-1].append(dict(zip(columns, cells, strict=True)))
    return found


def named(cell: str) -> list[str]:
    """The weightings that a cell names."""
    return [name for name in re.findall(r"`(\w+)`", cell) if name in WEIGHTINGS]


FAMILIES = ("From the losses", "From the Gramian", "From gradients, their past, or several batches")
METHODS = {row["name"].strip("`"): row for family in FAMILIES for row in tables(family)[0]}
ARGUMENTS = {row["name"].strip("`"): row["arguments"] for row in tables("Arguments and sources")[0]}
COMMON = tables("Arguments and sources")[1]
EACH = pytest.mark.parametrize("name", WEIGHTINGS)


def build(name: str, num_tasks: int = NUM_TASKS, **arguments: Any):
    return weightings.build({"name": name, **arguments}, kinds=("regression",) * num_tasks)


# --- The tables are complete


def test_tables_list_exactly_what_there_is():
    rows = [row["name"].strip("`") for family in FAMILIES for row in tables(family)[0]]
    assert sorted(rows) == sorted(WEIGHTINGS)
    assert sorted(ARGUMENTS) == sorted(WEIGHTINGS)


def test_the_first_table_holds_the_weighted_losses():
    first = {row["name"].strip("`") for row in tables(FAMILIES[0])[0]}
    assert first == SCALARIZATIONS


def values(cell: str) -> dict[str, Any]:
    """Arguments and values of a cell such as `c=0.5`, `exact=False`."""
    pairs = (text.partition("=") for text in re.findall(r"`([^`]+)`", cell))
    return {key: ast.literal_eval(value) for key, _, value in pairs}


@EACH
def test_arguments_have_the_defaults_of_the_code(name):
    common = {row["argument"].strip("`").partition("=")[0] for row in COMMON}
    signature = inspect.signature(WEIGHTINGS[name]).parameters
    expected = {k: p.default for k, p in signature.items() if k not in GIVEN | common}
    found = values(ARGUMENTS[name])
    assert found == expected
    assert {k: type(v) for k, v in found.items()} == {k: type(v) for k, v in expected.items()}


@pytest.mark.parametrize("row", COMMON, ids=lambda row: row["argument"])
def test_common_arguments_name_their_methods_and_defaults(row):
    key, _, value = row["argument"].strip("`").partition("=")
    parameters = {n: inspect.signature(f).parameters for n, f in WEIGHTINGS.items()}
    assert set(named(row["methods"])) == {n for n, p in parameters.items() if key in p}
    default = ast.literal_eval(value) if value else inspect.Parameter.empty
    assert {parameters[n][key].default for n in named(row["methods"])} == {default}


def test_traps_and_advice_name_methods_that_exist():
    (traps,) = tables("Traps in other implementations")
    (advice,) = tables("Which should I try first")
    for row in traps:
        assert named(row["method"]) or row["method"] == "all"
    for row in advice:
        assert named(row["try"])


def test_smooth_is_refused_where_the_page_says_so():
    (refused,) = re.findall(r"\*\*`smooth`\*\*(.*?)\n\* ", TEXT, re.S)
    assert set(named(refused)) == UNWEIGHTED


# --- The columns are what the code does


class Counting(TaskJacobian):
    """A Jacobian that notes its backward passes, 1 or T at a time."""

    passes: list[int]

    def __init__(self, jac: TaskJacobian, passes: list[int]):
        """Counts into a list that several Jacobians may share."""
        super().__init__(jac.vjp, jac.losses)
        object.__setattr__(self, "passes", passes)

    def pullback(self, weights):
        """One pass."""
        self.passes.append(1)
        return super().pullback(weights)

    def stacked(self):
        """T passes."""
        self.passes.append(self.num_tasks)
        return super().stacked()


@functools.cache
def passes(name: str) -> tuple[int, ...]:
    """The backward passes of one update."""
    tx = build(name)
    found: list[int] = []

    def update(params):
        losses, jac = task_jacobian(lambda p: jnp.stack([p @ p, jnp.sum((p - 1) ** 2), p[0] ** 2]), params)
        first, *others = (Counting(jac, found) for _ in range(weightings.needs(name).batches))
        return tx.update(first, tx.init(params), params, losses=losses, jacobians=tuple(others))

    jax.eval_shape(update, jnp.zeros(4))
    return tuple(found)


@EACH
def test_backward_passes(name):
    cell = METHODS[name]["passes"]
    number, _, rest = cell.partition(" and ")
    assert sum(passes(name)) == eval(number.replace("2T", "2 * T"), {"T": NUM_TASKS})
    assert sum(passes(name)) == weightings.backward_passes(name, NUM_TASKS)
    assert (rest == "a forward pass") == weightings.needs(name).losses_after
    assert name not in NEEDS or rest or weightings.needs(name).batches > 1


@EACH
def test_what_it_reads(name):
    reads = set(METHODS[name]["reads"].split(", ")) - {"–"}
    assert bool(reads & {"G", "g", "G×"}) == (NUM_TASKS in passes(name))
    assert ("G×" in reads) == (weightings.needs(name).batches > 1)
    tx = build(name)

    def without_losses(g):
        return tx.update(g, tx.init(g[0]), jacobians=(g, g))

    if "L" in reads:
        with pytest.raises((TypeError, InputError), match="losses"):
            jax.eval_shape(without_losses, jnp.eye(NUM_TASKS))
    else:
        jax.eval_shape(without_losses, jnp.eye(NUM_TASKS))


@EACH
@pytest.mark.parametrize("num_tasks, num_params", [(1, 5), (3, 5), (3, 7)])
def test_state_size(name, num_tasks, num_params):
    formula = METHODS[name]["state"].replace("²", "**2")
    formula = re.sub(r"(?<=[\dT])(?=[TP])", "*", formula)
    state = jax.eval_shape(build(name, num_tasks).init, jnp.zeros(num_params))
    size = sum(leaf.size for leaf in jax.tree.leaves(state))
    assert size == eval(formula, {"T": num_tasks, "P": num_params})


@functools.cache
def measured(name: str, num_tasks: int = NUM_TASKS, **arguments: Any) -> tuple[float, float]:
    """Over random gradients, some nearly opposed: the lowest cosine of a first update with any gradient, and
    the lowest cosine of third updates with and without one task's loss being multiplied by 8."""
    tx = build(name, num_tasks, **arguments)
    rng = np.random.default_rng([7, num_tasks])
    lengths = 10 ** rng.uniform(-0.5, 0.5, size=(300, num_tasks, 1))
    gradients = rng.normal(size=(300, num_tasks, 2 * num_tasks))
    gradients[::10, 1] = 0.1 * gradients[::10, 1] - gradients[::10, 0]
    gradients *= lengths
    losses = np.exp(rng.normal(size=(300, num_tasks)))
    factors = np.array([8.0] + [1.0] * (num_tasks - 1))

    def directions(g, loss):
        def step(state, k):
            now, batch = loss * (1 - 0.1 * k), g * (1 - 0.1 * k)
            update, state = tx.update(batch, state, losses=now, jacobians=(batch, batch))
            after = now * jnp.linspace(0.8, 0.95, num_tasks)
            return weightings.observe(state, after), update / jnp.linalg.norm(update)

        _, units = jax.lax.scan(step, tx.init(g[0]), jnp.arange(3))
        return units[0], units[2]

    run = jax.jit(jax.vmap(directions), compiler_options=compile_quickly())
    scaled = gradients * factors[:, None], losses * factors
    both = (np.concatenate(pair).astype(np.float32) for pair in zip((gradients, losses), scaled, strict=True))
    first, third = (np.asarray(units) for units in run(*both))
    units = gradients / np.linalg.norm(gradients, axis=-1, keepdims=True)
    slopes = np.einsum("ntp,np->nt", units, first[:300])
    same = np.sum(third[:300] * third[300:], axis=-1)
    return float(slopes.min()), float(same.min())


@EACH
def test_own_scale_and_opposition_of_three_tasks(name):
    opposed, same = measured(name)
    assert METHODS[name]["own scale"] in ("yes", "no", "in time")
    assert (METHODS[name]["own scale"] == "yes") == (same > 0.9999)
    promise = METHODS[name].get("opposes no task", "no")
    assert promise in ("yes", "no", "T = 2", "c ≥ 1", "τ = 0")
    assert (promise == "yes") == (opposed > -1e-4)


@pytest.mark.parametrize("name", [n for n, row in METHODS.items() if row.get("opposes no task") == "T = 2"])
def test_two_tasks_are_not_opposed(name):
    assert measured(name, num_tasks=2)[0] > -1e-4


@pytest.mark.parametrize(
    "name, arguments, not_opposed, same",
    [
        ("cagrad", {"c": 1.0}, True, False),
        ("pe_ltr", {"exact": True}, True, False),
        ("pe_ltr", {"exact": True, "floors": 0.1}, False, False),
        ("mgda", {"normalizer": "l2"}, False, False),
        ("mgda", {"normalizer": "l2", "convention": "scaled"}, True, True),
        ("mgda", {"normalizer": "loss", "convention": "scaled"}, True, True),
        ("fairgrad", {"alpha": 2.0}, True, False),
        ("pcd", {"tau": 0.0}, True, True),
        ("ntkmtl", {"exponent": 0.25}, False, False),
        ("moco", {"normalizer": "unit"}, False, True),
    ],
    ids=str,
)
def test_what_the_text_says_of_other_arguments(name, arguments, not_opposed, same):
    opposed, scaled = measured(name, **arguments)
    assert (opposed > -1e-4) == not_opposed
    assert (scaled > 0.9999) == same


def test_residual_table_has_the_methods_with_a_residual():
    rows, *_ = tables("How exact")
    listed = {name for row in rows for name in named(row["methods"])}
    assert listed == {name for name in WEIGHTINGS if hasattr(build(name).init(jnp.zeros(2)), "residual")}


def test_scale_tables_agree_with_the_tests_of_all_weightings():
    source = ROOT / "tests" / "weightings" / "table.py"
    spec = importlib.util.spec_from_file_location("table_of_weightings", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    _, laws, exceptions = tables("How exact")
    without = {name for row in exceptions for name in named(row["not free of scales"])}
    assert without == {row.name for row in module.TABLE if row.power is None}
    changed = {name for row in laws for name in named(row["methods"])}
    assert changed == {row.name for row in module.TABLE if row.power}


# --- The rest of the page


def test_examples_run_as_printed():
    codes = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)
    assert codes
    for code in codes:
        assert "assert" in code
        exec(compile(code, "docs/weightings.md", "exec"), {"__name__": "example"})


def test_paths_named_exist():
    for path in re.findall(r"`((?:tests|mtl|docs|benchmarks)/[\w/.]*)`", TEXT):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"python -m pytest ([\w/]+)", TEXT):
        assert (ROOT / path).exists(), path


def test_links_lead_somewhere():
    for link in re.findall(r"(?<!!)\[[^\]]*\]\(([^)]+)\)", TEXT):
        path, _, anchor = link.partition("#")
        target = PAGE.parent / path if path else PAGE
        assert target.exists(), link
        titles = re.findall(r"^#+ (.*)$", target.read_text(), re.M)
        assert not anchor or anchor in {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}
