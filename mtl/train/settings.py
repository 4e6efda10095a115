"""The `train` section of a study's config, checked."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mtl.errors import InputError, unknown_name
from mtl.metrics import selection
from mtl.tasks import Task

OPTIMIZERS = ("adam", "adamw", "sgd", "momentum", "adagrad", "rowwise_adagrad")
SCHEDULES = ("constant", "cosine")
OPTIMIZER_STATES = ("one", "per_loss", "per_owner")
DTYPES = ("float32", "bfloat16")


class TrainSettings(NamedTuple):
    """How a run is trained. The field names are the keys of `config.train`.

    Attributes:
      batch_size: rows per step.
      learning_rate: of the optimiser, at its highest.
      optimizer: `adam`, `adamw`, `sgd`, `momentum` (0.9), `adagrad`, or `rowwise_adagrad`, which keeps one
        number for every row of an embedding table.
      optimizers: `one` of the weighted sum; `per_loss`, one of every loss over all parameters, whose updates
        are summed; `per_owner`, one of every set of parameters with the same tasks, which rests while their
        weights are 0. See `mtl.weightings.per_loss` and `per_owner`.
      init_from: workdir of a finished study, whose selected parameters are the start; empty starts afresh. A
        run starts from that with the same model label and seed.
      init_parts: the parts that are taken from there, such as `encoder`, `extractor`, `towers`.
      freeze: the parts whose parameters training leaves as they are; running statistics go on following the
        batches.
      weight_decay: decoupled, for `adamw` only.
      clip_norm: global norm at which the weighted update is clipped (each loss's gradient with `per_loss`);
        0 does not clip.
      schedule: `constant`, or `cosine` to zero over the whole run.
      epochs: passes over the training split; used when `steps` is 0.
      steps: steps in all; 0 leaves it to `epochs`.
      eval_every: steps between looks at the validation split; 0 means once an epoch.
      patience: looks without improvement after which a run is over; 0 never stops early.
      select: what is maximised on validation: a task's name for its primary metric, `mean` for the mean of
        all tasks' primary metrics, a metric such as `auc` for its mean over the tasks that have it, or one of
        a task as in `purchase.logloss`; errors count negatively.
      sparse_rows: whether a step works on the rows of the embedding table that its batch looks up, so that
        its time and memory do not depend on the vocabulary; rows that a batch does not read rest, see
        `mtl.embedding`.
      sparse_capacity: most distinct rows of an update, whose memory is set aside; 0 is as many as there can
        be.
      dtype: of the computation, `float32` or `bfloat16`; parameters are always float32.
      steps_per_call: most steps in one compiled call.
      prefetch: calls whose rows are read ahead of the one that trains, where the data stream from disk.
      eval_batch_size: rows per block of an evaluation.
      checkpoint_seconds: shortest time between checkpoints of a group.
      group_runs: most runs in a group.
      group_gib: most memory, in GiB, for the stacked state of a group and the data sets that are its own.
      data_parallel: over how many devices the batch of a run is divided, times `table_shards`; 0 takes all
        there are. Both say on what a run is computed: results agree up to rounding.
      table_shards: over how many devices the rows of the embedding table are divided, with their moments;
        for `sparse_rows` only.
      share_programs: whether different weightings that read the same of the losses train as one program. It
        saves compilations; results agree up to rounding. On accelerators every run then pays for all of them.
    """

    batch_size: int = 256
    learning_rate: float = 1e-3
    optimizer: str = "adam"
    optimizers: str = "one"
    init_from: str = ""
    init_parts: tuple[str, ...] = ("encoder", "extractor")
    freeze: tuple[str, ...] = ()
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    schedule: str = "constant"
    epochs: float = 10.0
    steps: int = 0
    eval_every: int = 0
    patience: int = 0
    select: str = "mean"
    sparse_rows: bool = False
    sparse_capacity: int = 0
    dtype: str = "float32"
    steps_per_call: int = 200
    prefetch: int = 2
    eval_batch_size: int = 8192
    checkpoint_seconds: float = 15.0
    group_runs: int = 64
    group_gib: float = 2.0
    data_parallel: int = 1
    table_shards: int = 1
    share_programs: bool = False


DEVICE_KEYS = ("data_parallel", "table_shards")
"""Keys that say on what a run is computed: it can be continued with others."""


def train_settings(config: Mapping[str, Any], tasks: Sequence[Task] | None = None) -> TrainSettings:
    """Checks a `train` section.

    Args:
      config: keys of `TrainSettings`; missing ones take the default.
      tasks: the tasks of which `select` speaks; None skips that check.

    Returns:
      The settings.

    Raises:
      InputError: an unknown key, or a value out of range.
    """
    for key in config:
        if key not in TrainSettings._fields:
            raise unknown_name("key in config.train:", key, TrainSettings._fields)
    settings = TrainSettings(**config)
    settings = settings._replace(
        init_parts=_names("init_parts", settings.init_parts), freeze=_names("freeze", settings.freeze)
    )
    for key, least in (
        ("batch_size", 1),
        ("steps", 0),
        ("eval_every", 0),
        ("patience", 0),
        ("steps_per_call", 1),
        ("prefetch", 0),
        ("eval_batch_size", 1),
        ("weight_decay", 0),
        ("clip_norm", 0),
        ("sparse_capacity", 0),
        ("checkpoint_seconds", 0),
        ("group_runs", 1),
        ("group_gib", 0),
        ("data_parallel", 0),
        ("table_shards", 1),
    ):
        value = getattr(settings, key)
        if not value >= least:
            raise InputError(f"train.{key} is {value!r}, expected at least {least}")
    if not settings.learning_rate > 0:
        raise InputError(f"train.learning_rate is {settings.learning_rate!r}, expected above 0")
    if settings.steps == 0 and not settings.epochs > 0:
        raise InputError("train.steps and train.epochs are both 0; set one of them above 0")
    for key, choices in (
        ("optimizer", OPTIMIZERS),
        ("optimizers", OPTIMIZER_STATES),
        ("schedule", SCHEDULES),
        ("dtype", DTYPES),
    ):
        if getattr(settings, key) not in choices:
            raise unknown_name(f"train.{key}", getattr(settings, key), choices)
    if settings.weight_decay and settings.optimizer != "adamw":
        raise InputError(
            f"train.weight_decay is {settings.weight_decay!r}, which only train.optimizer='adamw' uses; "
            f"the optimiser is {settings.optimizer!r}"
        )
    if settings.table_shards > 1 and not settings.sparse_rows:
        raise InputError(
            f"train.table_shards is {settings.table_shards!r}, which only train.sparse_rows=True uses"
        )
    if settings.sparse_capacity and not settings.sparse_rows:
        raise InputError(
            f"train.sparse_capacity is {settings.sparse_capacity!r}, which only train.sparse_rows=True uses"
        )
    if tasks is not None:
        selection(tasks, settings.select)
    return settings


def _names(key: str, parts: Sequence[str]) -> tuple[str, ...]:
    if isinstance(parts, str) or not all(isinstance(part, str) and part for part in parts):
        raise InputError(f"train.{key} is {parts!r}, expected a tuple of names such as ('encoder',)")
    return tuple(parts)


class Budget(NamedTuple):
    """The steps of a run, derived from the settings and the size of the training split.

    A step is a batch. A weighting that reads m batches for one update counts m steps for it, so that all
    methods see the same number of examples; every count below is then a multiple of m.

    Attributes:
      steps: steps in all.
      steps_per_epoch: full batches in the training split; the rest of a permutation is dropped.
      eval_every: steps between looks at the validation split.
      steps_per_call: steps in one compiled call; divides `eval_every`.
      batches: m, batches per update.
    """

    steps: int
    steps_per_epoch: int
    eval_every: int
    steps_per_call: int
    batches: int = 1


def budget(settings: TrainSettings, num_rows: int, batches: int = 1) -> Budget:
    """Works out the steps of a run.

    Args:
      settings: checked settings.
      num_rows: rows N of the training split.
      batches: batches that the weighting reads per update.

    Returns:
      The budget. `steps` is rounded up to a whole number of compiled calls, or to the nearest one where it
      follows from epochs whose length has no suitable divisor.

    Raises:
      InputError: the batches of an update are larger than the training split.
    """
    rows = settings.batch_size * batches
    if rows > num_rows:
        each = "" if batches == 1 else f" and the weighting reads {batches} batches per update"
        size = f"train.batch_size is {settings.batch_size}{each}"
        raise InputError(f"{size}, but the training split has only {num_rows} rows")
    per_epoch = num_rows // rows
    updates = -(-settings.steps // batches) or max(1, round(settings.epochs * per_epoch))
    eval_every = min(-(-settings.eval_every // batches) or per_epoch, updates)
    most = min(max(1, settings.steps_per_call // batches), eval_every)
    # The largest divisor of eval_every that fits, so that calls and looks coincide.
    per_call = max(k for k in range(1, most + 1) if eval_every % k == 0)
    if not settings.eval_every and 2 * per_call < most:
        # An epoch of, say, 2 · 2,441 updates would be one of 2,441 calls: look a few updates before its end.
        calls = -(-eval_every // most)
        per_call = eval_every // calls
        eval_every = calls * per_call
        if not settings.steps:
            updates = max(1, round(updates / per_call)) * per_call
    updates = -(-updates // per_call) * per_call
    return Budget(
        steps=batches * updates,
        steps_per_epoch=batches * per_epoch,
        eval_every=batches * eval_every,
        steps_per_call=batches * per_call,
        batches=batches,
    )
