"""Launches studies: flags → config → plan → training → report.

    python run.py                                              # experiments/quickstart.py
    python run.py --config=experiments/census.py --workdir=runs/census
    python run.py --config=experiments/census.py --config.models="('mmoe','ple')" --config.seeds=10
    python run.py --workdir=runs/census --resume               # continue after a stop, bit-exact
    python run.py --workdir=runs/census --report               # rebuild tables, plots, report.html
    python run.py --compare runs/a runs/b                      # the same methods in two workdirs
    python run.py --workdir=runs/census --tensorboard          # the curves as TensorBoard files
    python run.py --config=experiments/census.py --dry_run     # runs, programs, memory, time: trains nothing
    python run.py --config.train.data_parallel=4 --processes=4 # every run on four processes of this machine
    python run.py --list                                       # what there is

Exit codes: 0 done, 2 bad input, 3 stopped with resumable state, 1 anything else.
"""

import contextlib
import errno
import io
import re
import runpy
import shlex
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags, logging
from ml_collections import config_dict, config_flags

from mtl.errors import InputError, unknown_name

QUICKSTART = Path(__file__).parent / "experiments" / "quickstart.py"
OVERRIDE = re.compile(r"--?(?:no)?config\.([^=]*)")


class CommandLine(NamedTuple):
    """What was asked for.

    Attributes:
      flags: the flags below; `config` is the study's file.
      config: the study's config with its overrides, as plain dicts and lists.
      config_given: whether the command line named a study or overrode a key.
      hosts: the processes of the study, of which this is one.
    """

    flags: flags.FlagValues
    config: dict[str, Any]
    config_given: bool
    hosts: Any


def main(argv: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    return _guarded(_command, argv)


def _guarded(work: Callable[[Any], int], argument: Any) -> int:
    """Turns what the user or the machine can mend into one line and an exit code."""
    try:
        return work(argument)
    except InputError as e:
        return _fail(2, str(e))
    except KeyboardInterrupt:
        return _fail(1, "stopped before there was anything to resume")
    except OSError as e:
        return _fail(2, _os_message(e))


def _command(argv: Sequence[str]) -> int:
    own, rest = _own_flags(argv)
    if own.help:
        return _help(own)
    if own.compare is not None:
        return _compare(own.compare, rest[1:])
    line = _command_line(own, rest)
    if own.list:
        return _list()
    if own.report:
        return _report(line)
    if own.tensorboard:
        return _tensorboard(line)
    if own.dry_run:
        return _dry_run(line)
    if own.processes is not None and own.coordinator is None:
        return _launch(line, argv)
    return _study(line) if own.coordinator is None else _one_of_several(line, argv)


def _own_flags(argv: Sequence[str]) -> tuple[flags.FlagValues, list[str]]:
    """Parses the flags that are not part of a study's config; returns the other arguments too."""
    own = flags.FlagValues()
    flags.DEFINE_string("config", str(QUICKSTART), "The study: a file with get_config().", own)
    flags.DEFINE_string("workdir", None, "Folder of the results; default: runs/<study name>.", own)
    flags.DEFINE_bool("resume", False, "Continue the study in --workdir.", own)
    flags.DEFINE_bool("report", False, "Only rebuild the report from the results in --workdir.", own)
    flags.DEFINE_bool("dry_run", False, "Measure what the study would take; train and write nothing.", own)
    flags.DEFINE_string("compare", None, "Compare two workdirs: --compare A B.", own)
    flags.DEFINE_bool("tensorboard", False, "Write the curves in --workdir as TensorBoard files.", own)
    flags.DEFINE_bool("list", False, "List data sets, models, weightings … and studies.", own)
    flags.DEFINE_string("data_dir", None, "Where prepared data sets live; default: MTL_DATA_DIR.", own)
    flags.DEFINE_string("manual_dir", None, "Where raw files lie; default: MTL_MANUAL_DIR.", own)
    flags.DEFINE_string("coordinator", None, "Several hosts: host:port of process 0.", own)
    flags.DEFINE_integer("num_processes", None, "Several hosts: how many processes.", flag_values=own)
    flags.DEFINE_integer("process_id", None, "Several hosts: which of them this is, from 0.", flag_values=own)
    flags.DEFINE_bool("together", False, "Several hosts: every run on the devices of all of them.", own)
    flags.DEFINE_integer("processes", None, "Train on so many processes of this machine.", flag_values=own)
    flags.DEFINE_bool("help", False, "Show this.", own)
    own.set_gnu_getopt()
    try:
        return own, own(list(argv), known_only=True)
    except flags.Error as e:
        raise InputError(_one_line(e)) from None


def _command_line(own: flags.FlagValues, rest: list[str]) -> CommandLine:
    """Loads the study and applies the `--config.key=value` among the arguments."""
    from mtl import sweep

    config = _load_config(own.config)
    _check_keys(config, rest)
    values = flags.FlagValues()
    logging.set_verbosity(logging.FATAL)  # absl logs a traceback for a value of the wrong type
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=rest)
        values.set_gnu_getopt()
        positional = values(rest)[1:]
        overridden = sweep.plain(values.config)
    except flags.UnrecognizedFlagError as e:
        raise unknown_name("flag", f"--{e.flagname}", [f"--{name}" for name in own]) from None
    except (flags.Error, LookupError, TypeError, ValueError) as e:
        raise InputError(_value_message(e, config)) from None
    finally:
        logging.set_verbosity(logging.ERROR)
    if positional:
        raise InputError(
            f"unexpected argument {positional[0]!r}; all arguments are flags, such as --config=…"
        )
    given = own["config"].present > 0 or any(OVERRIDE.match(a) for a in rest)
    if own.processes is not None and own.processes < 1:
        raise InputError(f"--processes is {own.processes}, expected at least 1")
    together = own.together or (own.processes is not None and own.coordinator is not None)
    hosts = sweep.check_hosts(own.coordinator, own.num_processes, own.process_id, together)
    return CommandLine(own, overridden, given, hosts)


def _load_config(path: str) -> config_dict.ConfigDict:
    if not Path(path).is_file():
        raise InputError(f"--config: there is no file {path!r}; studies are in experiments/")
    try:
        study = runpy.run_path(path)
        if "get_config" not in study:
            raise InputError("has no get_config(); define one that returns mtl.sweep.study_config(…)")
        config = study["get_config"]()
        if not isinstance(config, config_dict.ConfigDict):
            raise InputError(
                f"get_config() returned {type(config).__name__}, expected what mtl.sweep.study_config returns"
            )
    except InputError as e:
        raise InputError(f"--config={path}: {_one_line(e)}") from None
    except Exception as e:
        # The file is the user's own code: whatever it raises is said in one line.
        raise InputError(f"--config={path}: {type(e).__name__}: {_one_line(e)}; mend the file") from None
    return config


def _check_keys(config: config_dict.ConfigDict, arguments: Sequence[str]) -> None:
    for override in filter(None, map(OVERRIDE.match, arguments)):
        node, place = config, "config"
        for key in override[1].split("."):
            if not isinstance(node, config_dict.ConfigDict):
                raise InputError(f"{place} is {node!r} and has no key {key!r}; set {place} as a whole")
            if key not in node:
                raise unknown_name(f"key in {place}:", key, node)
            node, place = node[key], f"{place}.{key}"


def _value_message(error: Exception, config: config_dict.ConfigDict) -> str:
    """Says which type a config value of the wrong type should have had."""
    found = re.match(r"flag --config\.([^=]*)=(.*?): ", str(error), re.DOTALL)
    if not found:
        return _one_line(error)
    default: Any = config
    for key in found[1].split("."):
        default = default[key]
    if isinstance(default, config_dict.ConfigDict):
        return f"config.{found[1]} is {found[2]!r}, expected a dict; set its keys one by one"
    kind = type(default).__name__
    return f"config.{found[1]} is {found[2]!r}, expected {kind}, such as the study's own {default!r}"


def _one_of_several(line: CommandLine, argv: Sequence[str]) -> int:
    """Runs this process's part of a study below a watcher, which outlives an abort by JAX."""
    from mtl import sweep
    from mtl.train import one_device_per_core

    if sweep.is_watched():
        sweep.end_with_watcher()
        one_device_per_core(line.flags.processes or 1)
        sweep.join(line.flags.coordinator, line.hosts)
        if not line.hosts.together or line.hosts.this == 0:
            sweep.leave(_guarded(_study, line))
        said = io.StringIO()  # all would say the same
        with contextlib.redirect_stderr(said):
            code = _guarded(_study, line)
        if code == 2:
            print(said.getvalue().splitlines()[-1], file=sys.stderr)
        sweep.leave(code)
    if line.flags.processes is not None:
        raise InputError("--processes starts all processes on this machine; leave --coordinator away")
    code = sweep.watch([__file__, *argv[1:]])
    if code >= 0:
        return code
    why = "as happens when another one dies or does not come, or the port is taken"
    return _ended(line, line.hosts.this, line.hosts.number, -code, why)


def _launch(line: CommandLine, argv: Sequence[str]) -> int:
    """Starts the processes of a study on this machine and waits for them."""
    from mtl import sweep

    number = line.flags.processes
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = [f"--coordinator=127.0.0.1:{port}", f"--num_processes={number}"]
    command = [__file__, *argv[1:], *meeting]
    failed, code = sweep.watch_all([[*command, f"--process_id={i}"] for i in range(number)])
    return code if code >= 0 else _ended(line, failed, number, -code, "and the others with it")


def _ended(line: CommandLine, this: int, number: int, signal: int, why: str) -> int:
    """Says that a process has died, and how to go on."""
    workdir = _workdir(line)
    started = (workdir / "config.json").is_file()
    then = f"continue with: {_resume_command(line, workdir)}" if started else "start them all again"
    text = f"process {this} of {number} was ended by signal {signal}, {why}; {then}"
    return _fail(3 if started else 1, text)


def _study(line: CommandLine) -> int:
    from mtl import problems, report, sweep
    from mtl.train import DEVICE_KEYS, Stopped, one_device_per_core

    one_device_per_core()
    config = sweep.check_config(line.config)
    workdir = _workdir(line)
    first = line.hosts.this == 0
    if not first:
        sweep.meet(line.hosts, "planned")
    stored = sweep.stored_config(workdir) if line.flags.resume or not first else None
    if stored is not None:
        if line.config_given:
            # On what it is trained may change.
            stored["train"] |= {key: config["train"][key] for key in DEVICE_KEYS if key in config["train"]}
        if line.config_given and config != stored:
            raise InputError(
                f"--resume: the config differs from the one in {workdir / 'config.json'} "
                f"({_difference(stored, config)}); leave --config away, or choose another --workdir"
            )
        config = sweep.check_config(stored)
    if config["report"].get("reference"):
        report.read_published(config["report"]["reference"])  # a wrong name is said before training
    report.check_claims(config["report"].get("claims") or ())
    study = problems if problems.is_problem(config) else sweep
    if study is problems and line.hosts.number > 1:
        raise InputError("the study of a problem runs on one host; leave --coordinator away")
    if config["sweep"].get("search") and line.hosts.together:
        raise InputError("a search deals its methods out to processes; leave --processes and --together away")
    made = sweep.prepare_folder(workdir, resume=stored is not None)
    try:
        plan = study.make_plan(config, data_dir=line.flags.data_dir, manual_dir=line.flags.manual_dir)
        search = None if study is problems else _search(line, config, plan)
        if stored is None:
            sweep.write_config(workdir, config, plan)
        if first:
            sweep.meet(line.hosts, "planned")
        stop = sweep.StopRequest()
        if search is not None:
            from mtl.sweep.search import run_search

            plan = run_search(search, workdir, stop, line.hosts)
        if study is problems:
            failures = problems.run_plan(plan, workdir, stop)
        else:
            failures = sweep.run_plan(plan, workdir, stop, line.hosts)
    except (Stopped, KeyboardInterrupt, OSError) as e:
        if not (workdir / "config.json").is_file():
            raise
        why = _os_message(e) if isinstance(e, OSError) else "stopped"
        return _fail(3, f"{why}; continue with: {_resume_command(line, workdir)}")
    finally:
        for folder in made:
            if not any(folder.iterdir()):
                folder.rmdir()
    code = 1 if failures else 0
    if first and len(failures) < sum(len(group.runs) for group in plan.groups):
        try:
            print(_build(workdir, config))
        except InputError as e:  # a full disk, say: the results are complete, only the report is missing
            code = _fail(3, f"{e}; then continue with: {_resume_command(line, workdir)}")
    for text in failures:
        _fail(code, text)
    return code


def _search(line: CommandLine, config: dict[str, Any], plan: Any) -> Any:
    """Checks the search of a study, if it has one; Optuna is imported for such studies only."""
    if not config["sweep"].get("search"):
        return None
    from mtl.sweep.search import check_search

    return check_search(config, plan, data_dir=line.flags.data_dir, manual_dir=line.flags.manual_dir)


def _dry_run(line: CommandLine) -> int:
    from mtl import problems, sweep
    from mtl.train import one_device_per_core

    one_device_per_core()
    config = sweep.check_config(line.config)
    if problems.is_problem(config):
        raise InputError("--dry_run measures studies of models; this one follows a problem of a few numbers")
    plan = sweep.make_plan(config, data_dir=line.flags.data_dir, manual_dir=line.flags.manual_dir)
    search = _search(line, config, plan)
    for text in sweep.describe(plan):
        print(text, flush=True)
    if search is not None:
        from mtl.sweep.search import describe_search

        print(describe_search(search))
    return 0


def _workdir(line: CommandLine) -> Path:
    return Path(line.flags.workdir or f"runs/{line.config['name']}")


def _resume_command(line: CommandLine, workdir: Path) -> str:
    folders = {name: line.flags[name].value for name in ("data_dir", "manual_dir")}
    kept = [f"--{name}={folder}" for name, folder in folders.items() if folder]
    if line.flags.processes is not None:
        kept.append(f"--processes={line.flags.processes}")
    return shlex.join(["python", "run.py", f"--workdir={workdir}", *kept, "--resume"])


def _report(line: CommandLine) -> int:
    from mtl import sweep

    workdir = _workdir(line)
    print(_build(workdir, sweep.stored_config(workdir)))
    return 0


def _compare(first: str, others: Sequence[str]) -> int:
    from mtl import report

    if len(others) != 1:
        raise InputError(f"--compare needs two workdirs, as in --compare A B; got {[first, *others]}")
    print(report.compare(first, others[0]))
    return 0


def _tensorboard(line: CommandLine) -> int:
    from mtl import report

    folder = report.write_tensorboard(_workdir(line))
    print(f"written: {folder}; show it with: tensorboard --logdir={folder}")
    return 0


def _build(workdir: Path, config: dict[str, Any]) -> str:
    from mtl import problems, report
    from mtl.report.problem import build_problem

    return build_problem(workdir) if problems.is_problem(config) else report.build(workdir)


def _list() -> int:
    from mtl.data import DATASETS
    from mtl.extractors import EXTRACTORS
    from mtl.models import ENCODERS, PRESETS
    from mtl.problems import PROBLEMS
    from mtl.side_towers import SIDE_TOWERS
    from mtl.transfers import TRANSFERS
    from mtl.weightings import WEIGHTINGS

    studies = {p.stem: p for p in sorted(QUICKSTART.parent.glob("*.py")) if p.stem != "__init__"}
    for title, names in (
        ("data sets", DATASETS),
        ("problems", PROBLEMS),
        ("models", PRESETS),
        ("encoders", ENCODERS),
        ("extractors", EXTRACTORS),
        ("transfers", TRANSFERS),
        ("side towers", SIDE_TOWERS),
        ("weightings", WEIGHTINGS),
        ("studies", studies),
    ):
        print(f"{title + ':':<13} {', '.join(names)}")
    return 0


def _help(own: flags.FlagValues) -> int:
    print(f"{__doc__}\nFlags:\n")
    for name in own:
        print(f"  --{name:<12} {own[name].help}")
    print("  --config.KEY   Sets a key of the study's config, such as --config.seeds=10.")
    return 0


def _difference(stored: dict[str, Any], given: dict[str, Any], prefix: str = "config") -> str:
    for key in sorted({*stored, *given}):
        a, b = stored.get(key), given.get(key)
        if a != b:
            if isinstance(a, dict) and isinstance(b, dict):
                return _difference(a, b, f"{prefix}.{key}")
            return f"{prefix}.{key} was {a!r}, now {b!r}"
    return prefix


def _os_message(error: OSError) -> str:
    where = f" {error.filename}" if error.filename else ""
    advice = "; make room" if error.errno == errno.ENOSPC else ""
    return f"cannot read or write{where}: {error.strerror or _one_line(error)}{advice}"


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
    return text or type(error).__name__


def _fail(code: int, message: str) -> int:
    print(f"mtl: {message}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv))
