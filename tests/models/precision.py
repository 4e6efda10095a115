"""What a model computes in."""

import jax
import numpy as np


def float32_of(model, variables, batch):
    """Lines of the traced program in which a float32 is left, given float64 for all that is float32."""

    def double(tree):
        return jax.tree.map(lambda x: x.astype(np.float64) if x.dtype == np.float32 else x, tree)

    traced = str(jax.make_jaxpr(model.apply)(double(variables), double(batch)))
    assert ":f64[" in traced
    return [line for line in traced.splitlines() if ":f32[" in line]
