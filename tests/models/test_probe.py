"""Gate diagnostics and the tap's zeros."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.errors import InputError
from mtl.layers import gate_statistics
from mtl.models import PRESETS, build_model, gate_diagnostics, zero_perturbations

GATES = {
    "omoe": {"gate": (1, 8)},
    "mmoe": {"gate": (4, 8)},
    "cgc": {"level1/task_gate": (4, 6)},
    "ple": {
        "level1/task_gate": (4, 6),
        "level1/shared_gate": (1, 12),
        "level2/task_gate": (4, 6),
    },
    "attention_gate": {"gate": (4, 8)},
    "dselect_k": {"gate": (4, 8)},
    "scenario_experts": {"gate": (4, 5)},
}
TAPS = {
    "shared_bottom": (12, 113),
    "omoe": (12, 16),
    "mmoe": (8, 12, 16),
    "cgc": (4, 12, 16),
    "ple": (4, 12, 16),
    "attention_gate": (8, 12, 16),
    "dselect_k": (8, 12, 16),
    "snr": (4, 12, 16),
    "cross_stitch": (4, 12, 113),
    "separate_domains": (12, 96),
    "star": (12, 32),
    "scenario_experts": (4, 12, 16),
}


def test_every_gate_of_every_model_is_measured(case):
    diagnostics = jax.eval_shape(
        lambda p, b: gate_diagnostics(case.model, {"params": p, **case.stats}, b), case.params, case.batch
    )
    expected = GATES.get(PRESETS[case.name]["extractor"], {})
    assert set(diagnostics) == set(expected)
    for gate, (num_gates, num_experts) in expected.items():
        assert {name: value.shape for name, value in diagnostics[gate].items()} == {
            "entropy": (num_gates,),
            "polarised": (num_gates,),
            "utilisation": (num_gates, num_experts),
            "utilisation_sd": (num_gates, num_experts),
        }


def test_diagnostics_are_those_of_the_gates_weights(preset):
    case = preset("mmoe")
    encoder = case.model.encoder
    x = encoder.apply({"params": case.params["encoder"]}, case.batch["ids"], case.batch["numeric"])
    kernel = case.params["extractor"]["gate"]["dense"]["kernel"]
    expected = gate_statistics(jax.nn.softmax(jnp.einsum("bd,tde->tbe", x, kernel)))
    found = gate_diagnostics(case.model, {"params": case.params}, case.batch)["gate"]
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6)


def test_diagnostics_can_be_compiled_over_stacked_runs(preset):
    case = preset("ple")

    def measure(params):
        return gate_diagnostics(case.model, {"params": params}, case.batch)

    stacked = jax.tree.map(lambda p: jnp.stack([p, 2 * p]), case.params)
    found = jax.jit(jax.vmap(measure))(stacked)
    alone = jax.jit(measure)(case.params)
    assert found["level2/task_gate"]["entropy"].shape == (2, 4)
    for gate, statistics in alone.items():
        for name, value in statistics.items():
            np.testing.assert_allclose(found[gate][name][0], value, rtol=1e-4, atol=1e-5)


def test_dropout_does_not_disturb_diagnostics(preset, schema):
    case = preset("mmoe")
    spec = {"name": "mmoe", "embedding_dim": 2, "tower_features": (7,), "dropout_rate": 0.5}
    found = gate_diagnostics(build_model(spec, schema), {"params": case.params}, case.batch)
    clean = gate_diagnostics(case.model, {"params": case.params}, case.batch)
    jax.tree.map(np.testing.assert_array_equal, found, clean)


def test_the_tap_is_one_array_of_zeros(case):
    extractor = PRESETS[case.name]["extractor"]
    if extractor == "single_task":
        with pytest.raises(InputError, match="SingleTask has no shared representation"):
            zero_perturbations(case.model, case.params, case.batch)
        return
    (tap,) = jax.tree.leaves(zero_perturbations(case.model, case.params, case.batch, stats=case.stats))
    assert tap.shape == TAPS[extractor]
    assert not np.any(tap)


def test_the_tap_can_be_made_without_tables(preset):
    case = preset("mmoe")
    rest = {part: tree for part, tree in case.params.items() if part != "encoder"}
    zeros = zero_perturbations(case.model, rest, case.batch, rows=jnp.ones((12, 3, 2)))
    assert jax.tree.leaves(zeros)[0].shape == TAPS["mmoe"]
