"""Equal weights: the plain sum of the losses, the baseline of every comparison.

Reference:
  V. Kurin et al., "In Defense of the Unitary Scalarization for Deep Multi-Task Learning", NeurIPS 2022.
"""

import optax

from mtl.jacobian import Shared
from mtl.weightings.contract import check_num_tasks
from mtl.weightings.static import static


def ew(num_tasks: int, *, shared: Shared = None) -> optax.GradientTransformationExtraArgs:
    """Minimises Σ_t L_t, unitary scalarisation: a_t = 1.

    Cost: one backward pass.

    Args:
      num_tasks: T.
      shared: the leaves on which the weights act; with weights of 1 it makes no difference.

    Returns:
      A gradient transformation; see `mtl.weightings`.

    Raises:
      InputError: `num_tasks` is out of range.
    """
    check_num_tasks(num_tasks)
    return static(1.0, num_tasks, shared=shared)
