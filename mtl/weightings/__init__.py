"""Loss weightings: how T losses become one update.

A weighting is an optax gradient transformation. It takes the Jacobian of `mtl.task_jacobian` (or any
pytree with leaves `[T, *shape]`) and returns an update shaped like the parameters, so it stands first
in a chain:

    tx = optax.chain(weightings.mgda(num_tasks=2), optax.clip_by_global_norm(1.0), optax.adam(1e-3))
    updates, state = tx.update(jac, state, params, losses=losses)

`state.weights [T]` are the weights just applied; methods with a solver also keep `state.residual []`,
the scale-free optimality gap. A gradient that is not finite, or a loss in the methods that read losses,
makes the weights or the update NaN: it is never replaced by something that looks like a weighting.

Arguments that are numbers may be traced, so that many settings run in one program; see `numbers`.

To add one: write `mtl/weightings/<name>.py` and add a line to `WEIGHTINGS`.
"""

from mtl.weightings.aligned_mtl import aligned_mtl
from mtl.weightings.alternating import alternating
from mtl.weightings.build import (
    FROM_GRAMIAN,
    NEEDS,
    SCALARIZATIONS,
    STRUCTURAL,
    UNWEIGHTED,
    WEIGHTINGS,
    Needs,
    backward_passes,
    build,
    build_one_of,
    needs,
    numbers,
    observe,
    parse,
    reads,
    weighting_state,
    with_key,
)
from mtl.weightings.cagrad import cagrad
from mtl.weightings.config import config
from mtl.weightings.contract import SolverState, WeightsState
from mtl.weightings.db_mtl import DBMTLState, db_mtl
from mtl.weightings.dual_proj import dual_proj
from mtl.weightings.dwa import DWAState, dwa
from mtl.weightings.ew import ew
from mtl.weightings.excess_mtl import ExcessMTLState, excess_mtl
from mtl.weightings.fairgrad import fairgrad
from mtl.weightings.famo import FAMOState, famo
from mtl.weightings.gls import gls
from mtl.weightings.go4align import GO4AlignState, go4align
from mtl.weightings.graddrop import GradDropState, graddrop
from mtl.weightings.gradnorm import GradNormState, gradnorm
from mtl.weightings.gradvac import GradVacState, gradvac
from mtl.weightings.group_dro import GroupDROState, group_dro
from mtl.weightings.imtl_g import imtl_g
from mtl.weightings.imtl_l import IMTLLState, imtl_l
from mtl.weightings.loss_norm import LossNormState, loss_norm
from mtl.weightings.mgda import mgda
from mtl.weightings.moco import MoCoState, moco
from mtl.weightings.modo import MoDoState, modo
from mtl.weightings.nash_mtl import NashState, nash_mtl
from mtl.weightings.normalize import normalized
from mtl.weightings.ntkmtl import ntkmtl
from mtl.weightings.pcd import PCDState, pcd
from mtl.weightings.pcgrad import PCGradState, pcgrad
from mtl.weightings.pe_ltr import pe_ltr
from mtl.weightings.per_loss import PerLossState, per_loss
from mtl.weightings.per_owner import PerOwnerState, per_owner
from mtl.weightings.rlw import RLWState, rlw
from mtl.weightings.sdmgrad import SDMGradState, sdmgrad
from mtl.weightings.si import si
from mtl.weightings.slaw import SLAWState, slaw
from mtl.weightings.smooth import smoothed
from mtl.weightings.static import StaticState, static
from mtl.weightings.stch import STCHState, stch
from mtl.weightings.switched import SwitchedState, switched
from mtl.weightings.upgrad import upgrad
from mtl.weightings.uwl import UWLState, uwl

__all__ = [
    "FROM_GRAMIAN",
    "NEEDS",
    "SCALARIZATIONS",
    "STRUCTURAL",
    "UNWEIGHTED",
    "WEIGHTINGS",
    "DBMTLState",
    "DWAState",
    "ExcessMTLState",
    "FAMOState",
    "GO4AlignState",
    "GradDropState",
    "GradNormState",
    "GradVacState",
    "GroupDROState",
    "IMTLLState",
    "LossNormState",
    "MoCoState",
    "MoDoState",
    "NashState",
    "Needs",
    "PCDState",
    "PCGradState",
    "PerLossState",
    "PerOwnerState",
    "RLWState",
    "SDMGradState",
    "SLAWState",
    "STCHState",
    "SolverState",
    "StaticState",
    "SwitchedState",
    "UWLState",
    "WeightsState",
    "aligned_mtl",
    "alternating",
    "backward_passes",
    "build",
    "build_one_of",
    "cagrad",
    "config",
    "db_mtl",
    "dual_proj",
    "dwa",
    "ew",
    "excess_mtl",
    "fairgrad",
    "famo",
    "gls",
    "go4align",
    "graddrop",
    "gradnorm",
    "gradvac",
    "group_dro",
    "imtl_g",
    "imtl_l",
    "loss_norm",
    "mgda",
    "moco",
    "modo",
    "nash_mtl",
    "needs",
    "normalized",
    "ntkmtl",
    "numbers",
    "observe",
    "parse",
    "pcd",
    "pcgrad",
    "pe_ltr",
    "per_loss",
    "per_owner",
    "reads",
    "rlw",
    "sdmgrad",
    "si",
    "slaw",
    "smoothed",
    "static",
    "stch",
    "switched",
    "upgrad",
    "uwl",
    "weighting_state",
    "with_key",
]
