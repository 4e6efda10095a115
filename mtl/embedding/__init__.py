"""Large vocabularies: a step that reads and writes the batch's rows only, whatever the size of the table.

The distinct rows that a batch looks up, with their optimiser state, are gathered into a small tree; on it
the ordinary step runs, with any task Jacobian, weighting and element-wise optimiser; then they are scattered
back in place:

    axes = row_axes(lambda p: (p, tx.init(p)), params, {"table": "table"})

    def step(state, scratch, batch):                      # jitted with `state` and `scratch` donated
        scratch, rows = unique_rows(scratch, batch["ids"], capacity=8192)
        params, opt_state = gather_rows(state, axes, {"table": rows})
        losses, jac = task_jacobian(loss_fn, params, {**batch, "ids": rows.positions})
        updates, opt_state = tx.update(jac, opt_state, params, losses=losses)
        small = optax.apply_updates(params, updates), opt_state
        return scatter_rows(state, small, axes, {"table": rows}), scratch, rows.distinct

What is not a row of a table is updated as ever. For rows, the gradient of one that a batch does not read is
exactly 0, so that

    the Gramian, and all that a weighting reads of gradients, is exactly that of the whole table;
    SGD and Adagrad make the step that they make on the whole table;
    methods with moments (momentum, Adam …), decoupled weight decay, and weightings that remember gradients
    (MoCo …) leave the rows that a batch does not read as they are, instead of letting their moments decay and
    moving them on ("lazy" moments, as in SparseAdam); counters such as Adam's are those of all steps.

`train.sparse_rows` in a config does all this for a study. Where the rows of tables are divided over devices,
`unique_sharded_rows`, `gather_sharded_rows` and `scatter_sharded_rows` take the place of the three functions.
"""

from mtl.embedding.large_pages import use_large_pages
from mtl.embedding.row_tree import RowAxis, gather_rows, row_axes, scatter_rows
from mtl.embedding.rowwise_adagrad import RowwiseRSSState, rowwise_adagrad, scale_by_rowwise_rss
from mtl.embedding.sharded import (
    gather_sharded_rows,
    row_spec,
    scatter_sharded_rows,
    unique_sharded_rows,
)
from mtl.embedding.unique import Rows, empty_scratch, unique_rows

__all__ = [
    "RowAxis",
    "Rows",
    "RowwiseRSSState",
    "empty_scratch",
    "gather_rows",
    "gather_sharded_rows",
    "row_axes",
    "row_spec",
    "rowwise_adagrad",
    "scale_by_rowwise_rss",
    "scatter_rows",
    "scatter_sharded_rows",
    "unique_rows",
    "unique_sharded_rows",
    "use_large_pages",
]
