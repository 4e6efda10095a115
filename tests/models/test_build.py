"""From a spec to a model, and every way to get a spec wrong."""

import dataclasses
from typing import Literal, get_origin

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from mtl.data import IdColumn, Schema
from mtl.errors import InputError
from mtl.extractors import EXTRACTORS
from mtl.models import PRESETS, build_model
from mtl.tasks import Task
from mtl.transfers import TRANSFERS

SIZES = {"name": "mmoe", "num_experts": 3, "expert_features": [7, 5], "tower_features": [4, 2]}


@pytest.mark.parametrize(
    "spec",
    [SIZES, ml_collections.ConfigDict(SIZES), {**SIZES, "num_experts": np.int64(3)}],
    ids=["dict", "ConfigDict", "numpy"],
)
def test_arguments_reach_their_part_and_lists_become_tuples(spec, schema):
    model = build_model(spec, schema)
    assert model.extractor.num_experts == 3
    assert model.extractor.expert_features == (7, 5)
    assert model.towers.features == (4, 2)
    hash(model)


def test_arguments_of_every_part_are_taken(schema):
    spec = {
        "name": "dbmtl2",
        "embedding_dim": 3,
        "dropout_rate": 0.1,
        "relation_features": (6,),
        "stop_gradient": True,
    }
    model = build_model(spec, schema)
    assert model.encoder.embedding_dim == 3
    assert model.extractor.dropout_rate == 0.1
    assert model.transfer.relation_features == (6,)
    assert model.transfer.stop_gradient
    assert build_model({**spec, "dropout_rate": 0}, schema).extractor.dropout_rate == 0.0


def test_a_name_alone_is_the_preset_at_its_defaults(schema, plain):
    for name in plain:
        parts = PRESETS[name]
        model = build_model(name, schema)
        assert model == build_model({"name": name}, schema)
        assert type(model.extractor) is EXTRACTORS[parts["extractor"]]
        assert type(model.transfer) is TRANSFERS[parts["transfer"]]


@pytest.mark.parametrize("extractor", EXTRACTORS)
@pytest.mark.parametrize("transfer", TRANSFERS)
def test_any_extractor_goes_with_any_transfer(extractor, transfer, schema, batch_of):
    spec = {"name": "mmoe", "extractor": extractor, "transfer": transfer, "tower_features": []}
    model = build_model(spec, schema)
    batch = batch_of(schema)
    outputs, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), batch)
    assert outputs.shape == (4, 12, 10)


@pytest.mark.parametrize(
    "spec, message",
    [
        ("mmeo", r"unknown model 'mmeo' \(did you mean 'mmoe'\?\); expected one of: aitm, attention_gate"),
        ({"name": ["mmoe"]}, r"unknown model \['mmoe'\]"),
        (7, "model 7: expected a name or a mapping"),
        ({"num_experts": 3}, "'name' is missing"),
        ({"name": "mmoe", "extractor": "moe"}, "unknown extractor 'moe'"),
        ({"name": "mmoe", "transfer": "esmm"}, "unknown transfer 'esmm'.*; expected one of: ait, bayes"),
        ({"name": "mmoe", "num_expert": 3}, "unknown argument of model 'mmoe': 'num_expert'"),
        ({"name": "mmoe", "num_expert": 3}, r"did you mean 'num_experts'\?"),
        ({"name": "mmoe", "stop_gradient": True}, "expected one of: dropout_rate, embedding_dim"),
        ({"name": "mmoe", "num_tasks": 3}, "unknown argument"),
        ({"name": "mmoe", "num_experts": 0}, "num_experts is 0, expected an integer of at least 1"),
        ({"name": "mmoe", "num_experts": 2.0}, "num_experts is 2.0, expected an integer"),
        ({"name": "mmoe", "num_experts": True}, "num_experts is True, expected an integer"),
        ({"name": "mmoe", "embedding_dim": "8"}, "embedding_dim is '8', expected an integer"),
        ({"name": "mmoe", "expert_features": [16, -1]}, r"is \[16, -1\], expected a non-empty list"),
        ({"name": "mmoe", "expert_features": 16}, "expert_features is 16, expected a non-empty"),
        ({"name": "mmoe", "expert_features": "16"}, "expert_features is '16', expected"),
        ({"name": "mmoe", "expert_features": []}, r"expert_features is \[\], expected a non-empty"),
        ({"name": "mmoe", "tower_features": [0]}, "tower_features is .*possibly empty list"),
        ({"name": "mmoe", "dropout_rate": 1.5}, r"dropout_rate is 1.5, expected .* in \[0, 1\)"),
        ({"name": "mmoe", "dropout_rate": 1}, "dropout_rate is 1, expected"),
        ({"name": "mmoe", "dropout_rate": float("nan")}, "dropout_rate is nan, expected"),
        ({"name": "mmoe", "dropout_rate": False}, "dropout_rate is False, expected"),
        ({"name": "dbmtl1", "stop_gradient": 1}, "stop_gradient is 1, expected true or false"),
        ({"name": "esmm", "supervise": "click"}, "supervise is 'click', expected one of: joint, conditional"),
        ({"name": "mmoe", "side_tower": "star"}, "unknown side tower 'star'; expected one of: chan"),
    ],
)
def test_a_wrong_spec_is_one_clear_line(spec, message, schema):
    with pytest.raises(InputError, match=message) as error:
        build_model(spec, schema)
    assert "\n" not in str(error.value)


def test_building_leaves_the_spec_as_it_was(schema):
    spec = {"name": "mmoe", "expert_features": [3]}
    build_model(spec, schema)
    assert spec == {"name": "mmoe", "expert_features": [3]}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"tasks": ()}, "no task"),
        ({"id_columns": (), "numeric_columns": ()}, "neither id nor numeric columns"),
        ({"tasks": (Task("a", parents=("b",)), Task("b", parents=("a",)))}, "cycle: a -> b -> a"),
    ],
)
def test_a_schema_without_a_model_is_refused(schema, change, message):
    with pytest.raises(InputError, match=message):
        build_model("mmoe", schema._replace(**change))


@pytest.mark.parametrize("spec", ["star", "dbmtl3", {"name": "mmoe", "side_tower": "domain"}])
@pytest.mark.parametrize("ids", [(), (IdColumn("page", 1, "domain"),)])
def test_scenarios_need_a_column_that_tells_them(schema, spec, ids):
    with pytest.raises(
        InputError, match="reads scenarios, but the data set has no id column with role 'domain'"
    ):
        build_model(spec, schema._replace(id_columns=ids))


@pytest.mark.parametrize("name", ["esmm", "esm2", "clicks_only", "kl_bound"])
def test_products_need_events_that_imply_each_other(schema, name):
    apart = tuple(task._replace(requires=()) for task in schema.tasks)
    with pytest.raises(InputError, match="no task of the data set requires another; choose another transfer"):
        build_model(name, schema._replace(tasks=apart))


@pytest.mark.parametrize("dtype", ["float16", "floaty", jnp.int32])
def test_other_dtypes_are_refused(schema, dtype):
    with pytest.raises(InputError, match="expected float32, bfloat16 or float64"):
        build_model("mmoe", schema, dtype=dtype)


def test_float64_needs_it_enabled(schema, x64):
    assert build_model("mmoe", schema, dtype="float64").towers.dtype == "float64"
    with jax.enable_x64(False), pytest.raises(InputError, match="which JAX has disabled; set jax_enable_x64"):
        build_model("mmoe", schema, dtype="float64")


@pytest.mark.parametrize("dtype", ["bfloat16", jnp.bfloat16, jnp.dtype("bfloat16")])
def test_a_dtype_may_be_given_in_any_form(schema, dtype):
    model = build_model("mmoe", schema, dtype=dtype)
    assert {jnp.dtype(part.dtype) for part in (model.extractor, model.encoder, model.towers)} == {
        jnp.dtype("bfloat16")
    }


@pytest.mark.parametrize("part", [*EXTRACTORS.values(), *TRANSFERS.values()])
def test_every_field_has_a_type_that_the_checks_know_and_a_default(part):
    """A field of another type would be checked as if it were a list of units."""
    from_schema = ("num_tasks", "num_outputs", "num_domains", "parents", "requires", "kinds")
    for field in dataclasses.fields(part):
        if field.name not in (*from_schema, "dtype", "parent", "name"):
            known = field.type in (int, float, bool, tuple[int, ...]) or get_origin(field.type) is Literal
            assert known, field.name
            assert field.default is not dataclasses.MISSING, field.name


def test_sizes_of_the_mmoe_papers_networks():
    """Ma et al., Sec. 5.1: experts and towers hold 13 056 weights; 113 bottom units hold 13 108."""
    schema = Schema((), tuple(f"x{i}" for i in range(100)), (Task("a"), Task("b")))
    batch = {"ids": jnp.zeros((1, 0), jnp.int32), "numeric": jnp.zeros((1, 100))}

    def weights(name, *parts):
        params = jax.eval_shape(build_model(name, schema).init, jax.random.key(0), batch)["params"]
        parts = [params["towers"], *(params["extractor"][part] for part in parts)]
        return sum(part["dense0"]["kernel"].size for part in parts)

    assert weights("mmoe", "experts") == weights("omoe", "experts") == 13_056
    assert weights("shared_bottom", "bottom") == 113 * (100 + 16) == 13_108


def test_private_tables_make_single_task_models_independent(schema, batch_of, params_of):
    batch = batch_of(schema)
    model = build_model("single_task", schema)
    params = params_of(model, batch)
    assert params["encoder"]["tables"].shape == (4, 13, 8)
    alone = build_model("single_task", schema._replace(tasks=(Task("click"),)))
    mine = jax.tree.map(lambda p: p[:1], params)
    mine["transfer"]["heads"]["dense"] = jax.tree.map(
        lambda p: p[..., :1], mine["transfer"]["heads"]["dense"]
    )
    together = jax.jit(model.apply)({"params": params}, batch)
    np.testing.assert_allclose(
        jax.jit(alone.apply)({"params": mine}, batch)[0, :, 0],
        together[0, :, 0],
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_shared_table_has_one_row_per_id(schema, batch_of, params_of):
    assert [column.vocab_size for column in schema.id_columns] == [4, 6, 3]
    params = params_of(build_model("ple", schema), batch_of(schema))
    assert params["encoder"]["tables"].shape == (13, 8)
