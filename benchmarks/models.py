"""What a model costs: time of a full training step, relative to a Shared-Bottom with as many parameters.

    python -m benchmarks.models                             # a table in Markdown on stdout
    python -m benchmarks.models --presets=star --presets=ple --json=out.json

Every preset is trained on the first of `SCHEMAS` that has the columns it reads, beside a Shared-Bottom of the
same tasks and columns, with as many units as give it the preset's number of trainable parameters, embedding
tables aside, to 2 %. A step is everything: encoder, model, losses, one backward pass of their sum (`static`),
Adam; ten steps on ten batches are a compiled call, as in training. The two take turns, round after round, so
that a machine whose speed drifts favours neither; a ratio compares times of the same round, and `fastest`
the fastest round of each, which on a busy machine is the one to read. `products` is the ratio of the
multiplications in the matrix products of a step, `bytes` that of the bytes that the compiled steps read and
write as XLA counts them, a loop over a sequence once. A ratio above 3 is bold, and README.md explains it.
"""

import functools
import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags

from mtl import weightings
from mtl.data import IdColumn, Schema
from mtl.errors import InputError
from mtl.files import to_json, write_atomic
from mtl.models import PRESETS, MultiTaskModel, build_model, initial_variables, model_arguments
from mtl.tasks import Task
from mtl.train import TrainState, make_step

FLAGS = flags.FLAGS
flags.DEFINE_multi_string("presets", None, "Which presets; default: all.")
flags.DEFINE_integer("batch", 2048, "Batch size.")
flags.DEFINE_list("bottom", ["256", "128"], "Units of each layer of a bottom, before it is matched.")
flags.DEFINE_list("expert", ["64", "64"], "Units of each layer of an expert.")
flags.DEFINE_integer("tower", 32, "Units of a tower, and of what transfers and side towers add to it.")
flags.DEFINE_integer("embedding_dim", 16, "Length of an embedding.")
flags.DEFINE_integer("length", 20, "Behaviours in a history.")
flags.DEFINE_integer("rounds", 11, "Rounds in which both are timed once.")
flags.DEFINE_float("seconds", 0.2, "Shortest time of one measurement, in seconds.")
flags.DEFINE_string("json", None, "Also write the figures to this file.")

STEPS_PER_CALL = 10
MOST = 3.0
"""A larger ratio needs an explanation from a profile."""
TOLERANCE = 0.02
"""Largest relative difference of the numbers of parameters."""
SCENARIOS = 4
NUM_FEATURES = 64
VOCABULARY = 1009
"""Users, and items. A parameter with as many rows is an embedding table: no layer has as many units."""
CHANNEL_DIM = 16
TASKS = (
    Task("click"),
    Task("like", parents=("click",), requires=("click",)),
    Task("cart", parents=("click",), requires=("click",)),
    Task("buy", parents=("click", "cart"), requires=("click",)),
)


def schemas(length: int) -> dict[str, Schema]:
    """Returns what models may read: plain columns, histories beside them, and pre-trained vectors as well."""

    def history(name: str, size: int, table: str = "") -> tuple[IdColumn, ...]:
        owners = [table, *[table or f"{name}_1"] * (length - 1)]
        return tuple(IdColumn(f"{name}_{i + 1}", size, "user", name, t) for i, t in enumerate(owners))

    plain = (
        IdColumn("user", VOCABULARY, "user"),
        IdColumn("item", VOCABULARY, "item"),
        IdColumn("category", 50, "item"),
        IdColumn("page", SCENARIOS + 1, "domain"),
    )
    behaviours = (
        IdColumn("refer", VOCABULARY, "refer", table="item"),
        *history("past_item", VOCABULARY, "item"),
        *history("past_category", 50, "category"),
        *history("past_kind", 5),
    )
    numeric = tuple(f"x{i}" for i in range(NUM_FEATURES))
    vectors = tuple(
        f"channel:{name}:{side}:{i}"
        for name in ("u2a", "u2a2a")
        for side in ("user", "item")
        for i in range(CHANNEL_DIM)
    )
    return {
        "plain": Schema(plain, numeric, TASKS),
        "histories": Schema((*plain, *behaviours), numeric, TASKS),
        "channels": Schema((*plain, *behaviours), (*numeric, *vectors), TASKS),
    }


def rows(schema: Schema, count: int) -> dict[str, np.ndarray]:
    """Draws rows: ids, of which 0 is neither padding nor a scenario here, numbers, and labels."""
    rng = np.random.default_rng(0)
    ids = [rng.integers(1, column.vocab_size, size=count) for column in schema.id_columns]
    labels = rng.integers(0, 2, size=(count, len(schema.tasks)))
    labels *= labels[:, :1]  # nothing happens without a click
    return {
        "ids": np.stack(ids, axis=1).astype(np.int32),
        "numeric": rng.normal(size=(count, len(schema.numeric_columns))).astype(np.float32),
        "labels": labels.astype(np.float32),
    }


def sizes(bottom: tuple[int, ...]) -> dict[str, Any]:
    """The widths of every part that a preset may have, by the names of its arguments."""
    expert, tower = tuple(map(int, FLAGS.expert)), FLAGS.tower
    one_layer = (
        *("tower_features", "relation_features", "auxiliary_features", "attention_features"),
        "match_features",
    )
    return {
        "embedding_dim": FLAGS.embedding_dim,
        "bottom_features": bottom,
        "star_features": bottom,
        "expert_features": expert,
        **dict.fromkeys(one_layer, (tower,)),
        **dict.fromkeys(("features", "user_units", "match_units"), tower),
    }


def build(preset: str, schema: Schema, bottom: tuple[int, ...] | None = None) -> MultiTaskModel:
    """Builds a preset with the widths of `sizes`, except for those that make it what it is."""
    bottom = bottom or tuple(map(int, FLAGS.bottom))
    chosen = model_arguments(preset) - set(PRESETS[preset])
    return build_model({"name": preset, **{k: v for k, v in sizes(bottom).items() if k in chosen}}, schema)


def suited(preset: str) -> tuple[str, Schema, MultiTaskModel]:
    """Finds the first of `schemas` that a preset can be built on."""
    for name, schema in schemas(FLAGS.length).items():
        try:
            return name, schema, build(preset, schema)
        except InputError as error:
            reason = error
    raise reason


def count_parameters(model: MultiTaskModel, schema: Schema) -> int:
    """Counts trainable parameters, embedding tables aside."""
    shapes = jax.eval_shape(functools.partial(initial_variables, model), jax.random.key(0), rows(schema, 2))
    return sum(
        leaf.size
        for path, leaf in jax.tree_util.tree_leaves_with_path(shapes["params"])
        if path[-1].key != "tables" and VOCABULARY not in leaf.shape[-2:-1]
    )


def matched(parameters: int, schema: Schema) -> tuple[tuple[int, ...], MultiTaskModel]:
    """Finds the Shared-Bottom whose number of parameters is nearest; its layers keep their proportions."""
    shape = tuple(map(int, FLAGS.bottom))

    def bottom(units: int) -> tuple[int, ...]:
        return units, *(max(1, round(units * layer / shape[0])) for layer in shape[1:])

    def count(units: int) -> int:
        return count_parameters(build("shared_bottom", schema, bottom(units)), schema)

    low, high = 1, 2
    while count(high) < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < parameters else (low, middle)
    best = min((low, high), key=lambda units: abs(count(units) - parameters))
    return bottom(best), build("shared_bottom", schema, bottom(best))


class Case(NamedTuple):
    """Some compiled steps, the state they carry, and what one step multiplies and moves."""

    steps: Callable[[TrainState], TrainState]
    state: list[TrainState]
    products: int
    bytes: float


def make_case(model: MultiTaskModel, schema: Schema) -> Case:
    """Compiles a model's training steps."""
    flat = rows(schema, STEPS_PER_CALL * FLAGS.batch)
    batches = {k: jnp.asarray(v.reshape(STEPS_PER_CALL, FLAGS.batch, -1)) for k, v in flat.items()}
    one = jax.tree.map(lambda column: column[0], batches)
    weighting = weightings.build("static", kinds=[task.kind for task in schema.tasks])
    optimizer = optax.chain(weighting, optax.adam(1e-3))
    variables = jax.jit(functools.partial(initial_variables, model))(jax.random.key(0), one)
    params = variables.pop("params")
    state = TrainState(params, optimizer.init(params), variables)
    step = make_step(model, schema.tasks, optimizer)

    @functools.partial(jax.jit, donate_argnums=0)
    def steps(state, batches):
        """Some steps in one call, as the training loop runs them."""
        keys = jax.random.split(jax.random.key(1), STEPS_PER_CALL)
        return jax.lax.scan(lambda s, xs: step(s, *xs), state, (batches, keys))[0]

    products = multiplications(jax.make_jaxpr(step)(state, one, jax.random.key(0)).jaxpr)
    compiled = steps.lower(state, batches).compile()
    cost: Any = compiled.cost_analysis()
    return Case(lambda state: compiled(state, batches), [state], products, float(cost["bytes accessed"]))


def multiplications(jaxpr: Any) -> int:
    """Counts the multiplications of all matrix products in a program, those in a scan once per turn."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            total += math.prod(equation.outvars[0].aval.shape) * math.prod(left[i] for i in contracted)
        turns = equation.params["length"] if equation.primitive.name == "scan" else 1
        inside = jax.tree.leaves(list(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns"))
        total += turns * sum(multiplications(inner) for inner in inside if hasattr(inner, "eqns"))
    return total


def seconds_per_step(case: Case, calls: int) -> float:
    """Runs some calls and returns the mean time of a step."""
    start = time.perf_counter()
    for _ in range(calls):
        case.state[0] = case.steps(case.state[0])
    jax.block_until_ready(case.state)
    return (time.perf_counter() - start) / (calls * STEPS_PER_CALL)


def times_of(cases: Mapping[str, Case]) -> dict[str, list[float]]:
    """Times all cases in turns; returns the seconds per step of every round."""
    calls = {}
    for name, case in cases.items():
        seconds_per_step(case, 1)  # compiles and warms up
        calls[name] = max(1, round(FLAGS.seconds / STEPS_PER_CALL / seconds_per_step(case, 1)))
    found: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(FLAGS.rounds):
        for name, case in cases.items():
            found[name].append(seconds_per_step(case, calls[name]))
    return found


def measure(preset: str) -> dict[str, Any]:
    """Times a preset and its Shared-Bottom."""
    columns, schema, model = suited(preset)
    parameters = count_parameters(model, schema)
    bottom, baseline = matched(parameters, schema)
    of_bottom = count_parameters(baseline, schema)
    if abs(of_bottom / parameters - 1) > TOLERANCE:
        raise InputError(
            f"{preset} has {parameters} parameters, the nearest Shared-Bottom {of_bottom}; choose others for "
            "--bottom"
        )
    cases = {"preset": make_case(model, schema), "bottom": make_case(baseline, schema)}
    found = times_of(cases)
    ratios = sorted(a / b for a, b in zip(found["preset"], found["bottom"], strict=True))
    return {
        "preset": preset,
        "columns": columns,
        "parameters": parameters,
        "bottom": bottom,
        "bottom_parameters": of_bottom,
        "ms": 1e3 * min(found["preset"]),
        "bottom_ms": 1e3 * min(found["bottom"]),
        "fastest": min(found["preset"]) / min(found["bottom"]),
        "min": ratios[0],
        "median": statistics.median(ratios),
        "max": ratios[-1],
        "products": cases["preset"].products / cases["bottom"].products,
        "bytes": cases["preset"].bytes / cases["bottom"].bytes,
    }


def main(argv: list[str]) -> None:
    """Measures all presets and prints the table."""
    del argv
    device = jax.devices()[0]
    print(f"{device.device_kind}, jax {jax.__version__}; batch {FLAGS.batch}, {FLAGS.rounds} rounds\n")
    print(
        "| preset | columns | parameters | units of the bottom | ms | bottom, ms | fastest "
        "| median (min–max) | products "
        "| bytes |"
    )
    print("|---|---|---:|---|---:|---:|---:|---|---:|---:|")
    cells = []
    for preset in FLAGS.presets or PRESETS:
        cells.append(cell := measure(preset))
        units = ", ".join(map(str, cell["bottom"]))
        spread = f"{cell['median']:.2f} ({cell['min']:.2f}–{cell['max']:.2f})"
        bold = "**" if cell["fastest"] > MOST else ""
        print(
            f"| `{preset}` | {cell['columns']} | {cell['parameters']:,} | {units} | {cell['ms']:.2f} | "
            f"{cell['bottom_ms']:.2f} | {bold}{cell['fastest']:.2f}{bold} | {spread} | "
            f"{cell['products']:.2f} | {cell['bytes']:.2f} |",
            flush=True,
        )
    if FLAGS.json:
        write_atomic(FLAGS.json, to_json(cells, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
