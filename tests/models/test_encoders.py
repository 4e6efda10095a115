"""The encoder as a choice of a model, and dropout after it and after the towers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.data import IdColumn, Schema
from mtl.errors import InputError
from mtl.extractors import EXTRACTORS
from mtl.jacobian import task_jacobian
from mtl.models import (
    ENCODERS,
    build_model,
    model_arguments,
    shared_tap,
    task_cut,
    zero_perturbations,
)
from mtl.tasks import Task
from mtl.train.step import find_ownership, make_loss_fn

TASKS = (Task("left", "multiclass", 10), Task("right", "multiclass", 10))
SMALL = {"encoder": "lenet", "tower_features": (6,)}


def pixels(count):
    return tuple(f"pixel_{i}" for i in range(count))


@pytest.fixture
def images():
    return Schema((), pixels(256), TASKS)


def made(name, images, batch_of, params_of, **arguments):
    model = build_model({"name": name, **SMALL, **arguments}, images)
    batch = batch_of(images)
    return model, params_of(model, batch), batch


@pytest.mark.parametrize(
    "extractor", [n for n, e in EXTRACTORS.items() if "num_domains" not in e.__dataclass_fields__]
)
def test_lenet_goes_with_every_extractor(extractor, images, batch_of):
    model = build_model({"name": "mmoe", "extractor": extractor, **SMALL}, images)
    outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), batch_of(images))
    assert outputs.shape == (2, 12, 10)
    private = (2,) if extractor == "single_task" else ()
    assert variables["params"]["encoder"]["conv0"]["kernel"].shape == (*private, 25, 10)


@pytest.mark.parametrize("name", ["shared_bottom", "single_task"])
def test_what_tasks_share_is_found_behind_the_convolutions(name, images, batch_of, params_of):
    model, params, batch = made(name, images, batch_of, params_of, bottom_features=(5,))
    shared = find_ownership(model, images.tasks, params, batch).shared
    expected = name == "shared_bottom"
    assert set(jax.tree.leaves([shared["encoder"], shared["extractor"]])) == {expected}
    assert not any(jax.tree.leaves([shared["towers"], shared["transfer"]]))


def test_the_tap_reads_the_gradients_at_the_layer_after_the_convolutions(images, batch_of, params_of):
    model, params, batch = made("shared_bottom", images, batch_of, params_of, bottom_features=(5,))
    key = jax.random.key(0)
    loss_fn = make_loss_fn(model, images.tasks)
    zeros = zero_perturbations(model, params, batch)
    assert jax.tree.map(jnp.shape, zeros) == {"extractor": {"representation": (12, 5)}}

    @jax.jit
    def gramians(params):
        _, jac = task_jacobian(loss_fn, params, batch, key, tap=zeros)
        _, quick = task_jacobian(loss_fn, params, batch, key, tap=shared_tap(model, params, batch))
        at_tap = jax.jacrev(lambda z: loss_fn(params, batch, key, perturbations=z))(zeros)
        flat = at_tap["extractor"]["representation"].reshape(2, -1)
        return jac.gramian(tap=True), quick.gramian(tap=True), flat @ flat.T

    *found, expected = gramians(params)
    assert expected[0, 1] != 0
    for each in found:
        np.testing.assert_allclose(each, expected, rtol=1e-5)


def test_the_default_encoder_is_that_of_columns(schema):
    assert build_model("mmoe", schema) == build_model({"name": "mmoe", "encoder": "columns"}, schema)


@pytest.mark.parametrize("count, ids", [(255, 0), (225, 0), (0, 1), (256, 1), (144, 0)])
def test_columns_that_are_no_image_are_refused_in_one_line(count, ids):
    schema = Schema((IdColumn("a", 3),) * ids, pixels(count), TASKS)
    with pytest.raises(InputError) as caught:
        build_model({"name": "mmoe", **SMALL}, schema)
    assert str(caught.value) == (
        "encoder 'lenet' reads square images of 16×16 pixels or more and no ids, but the data set has "
        f"{count} numeric and {ids} id columns; use encoder='columns'"
    )


@pytest.mark.parametrize(
    "spec, message",
    [
        ({"encoder": "lennet"}, r"unknown encoder 'lennet' \(did you mean 'lenet'\?\); expected one of: col"),
        ({"encoder": 3}, "unknown encoder 3"),
        ({"encoder": "lenet", "embedding_dim": 4}, "unknown argument of model 'mmoe': 'embedding_dim'"),
        ({"encoder_dropout": 1.0}, r"encoder_dropout is 1.0, expected a number in \[0, 1\)"),
        ({"tower_dropout": "half"}, "tower_dropout is 'half', expected a number"),
    ],
)
def test_a_wrong_encoder_is_one_clear_line(spec, message, images):
    with pytest.raises(InputError, match=message) as caught:
        build_model({"name": "mmoe", **spec}, images)
    assert "\n" not in str(caught.value)


def test_arguments_of_a_model_include_those_of_its_encoder():
    both = {"encoder", "encoder_dropout", "tower_dropout", "tower_features"}
    assert both | {"embedding_dim"} <= model_arguments("mmoe")
    assert both <= model_arguments({"name": "mmoe", "encoder": "lenet"})
    assert "embedding_dim" not in model_arguments({"name": "mmoe", "encoder": "lenet"})
    with pytest.raises(InputError, match="unknown encoder"):
        model_arguments({"name": "mmoe", "encoder": "lennet"})


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_argument_of_an_encoder_can_be_set_and_has_a_default(encoder):
    own = model_arguments({"name": "single_task", "encoder": encoder})
    ids = (IdColumn("u", 2, "user"), IdColumn("i", 3, "item"), IdColumn("p", 3, "user", "past", "i"))
    ids = () if encoder == "lenet" else ids
    assert build_model({"name": "single_task", "encoder": encoder}, Schema(ids, pixels(256), TASKS))
    assert own <= {
        "encoder",
        "embedding_dim",
        "encoder_dropout",
        "tower_dropout",
        "tower_features",
        "bottom_features",
        "remat",
        "interaction",
        "interaction_features",
        "attention_features",
        "softmax",
        "user_units",
    }


@pytest.mark.parametrize("place", ["encoder_dropout", "tower_dropout"])
def test_dropout_is_drawn_from_the_key_in_training_and_keeps_the_mean(place, schema, batch_of, params_of):
    """Where the outputs are linear in the mask, their mean is the output without dropout."""
    spec = {"name": "shared_bottom", "bottom_features": (6,), "tower_features": ()}
    plain = build_model(spec, schema)
    model = build_model({**spec, place: 0.5}, schema)
    batch = batch_of(schema)
    params = params_of(plain, batch)
    # A large bias keeps the ReLU after the encoder open, so that the network is linear.
    params["extractor"]["bottom"]["dense0"]["bias"] += 1000.0
    apply = jax.jit(lambda key: model.apply({"params": params}, batch, train=True, rngs={"dropout": key}))
    one, same, other = (apply(jax.random.key(i)) for i in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not jnp.array_equal(one, other)
    expected = plain.apply({"params": params}, batch)
    np.testing.assert_array_equal(model.apply({"params": params}, batch), expected)
    draws = jax.vmap(apply)(jax.random.split(jax.random.key(0), 4000))
    error = draws.std(axis=0) / np.sqrt(len(draws))
    assert (jnp.abs(draws.mean(axis=0) - expected) < 6 * error + 1e-2).all()


def test_gradients_from_the_tasks_own_features_see_the_same_dropout(schema, batch_of, params_of):
    sizes = {"num_experts": 2, "expert_features": (4,), "encoder_dropout": 0.5, "tower_dropout": 0.5}
    schema = schema._replace(tasks=TASKS)
    model = build_model({"name": "mmoe", "tower_features": (6,), **sizes}, schema)
    batch = batch_of(schema)
    params = params_of(model, batch)
    loss_fn = make_loss_fn(model, TASKS)
    key = jax.random.key(5)
    cut = task_cut(model, params, batch)

    @jax.jit
    def both(params):
        losses, jac = task_jacobian(loss_fn, params, batch, key, tap=cut)
        return losses, jac.stacked(), loss_fn(params, batch, key), jax.jacrev(loss_fn)(params, batch, key)

    losses, found, expected_losses, expected = both(params)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-6)
    largest = max(jnp.abs(x).max() for x in jax.tree.leaves(expected))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * largest), found, expected)
