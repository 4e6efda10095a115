"""Several hosts: what the processes of one study say to each other, through JAX's coordination service.

A process trains its groups on its own devices, and no run ever talks to another. So the processes share the
coordination service of `jax.distributed` (who is there, a list, a barrier, whether somebody has died) and the
workdir, and no devices: a process may have any number of them, of any kind.

Processes that are `together` join their devices too: each of them trains all groups, and every run has
devices of all of them.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

# The service has no public interface but through collectives over all devices, which would have to be equal
# in number and to be reached by all processes within minutes of each other.
from jax._src.distributed import global_state

from mtl.errors import InputError

JOIN_SECONDS = 300
"""How long a process waits for the others to be started."""

HEARTBEAT_SECONDS = 30
"""After so long without a sign of life a process counts as dead, and JAX ends all the others."""

WAIT_MS = 7 * 24 * 3600 * 1000
"""How long the processes wait for the slowest; one that dies is noticed by its heartbeat, not by this."""


class Hosts(NamedTuple):
    """The processes of a study.

    Attributes:
      this: which one this is, from 0; process 0 writes the config, the results and the report.
      number: how many there are.
      together: whether every run is trained by all of them.
    """

    this: int
    number: int
    together: bool = False


ALONE = Hosts(0, 1)


def check_hosts(
    coordinator: str | None, number: int | None, this: int | None, together: bool = False
) -> Hosts:
    """Checks the flags that make a process one of several.

    Args:
      coordinator: `host:port` at which process 0 can be reached by all; None for a study of one process.
      number: how many processes.
      this: which of them this is, from 0.
      together: whether they train every run together.

    Returns:
      The processes; `ALONE` where none of the first three is given.

    Raises:
      InputError: some are given but not all, or a value makes no sense.
    """
    if coordinator is None and number is None and this is None:
        if together:
            raise InputError("--together is for several processes: give --coordinator too, or --processes")
        return ALONE
    if coordinator is None or number is None or this is None:
        raise InputError("--coordinator, --num_processes, --process_id go together: give all or none")
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"--coordinator is {coordinator!r}, expected host:port, such as 10.0.0.1:1234")
    if number < 1:
        raise InputError(f"--num_processes is {number}, expected at least 1")
    if not 0 <= this < number:
        raise InputError(f"--process_id is {this}, expected 0 … {number - 1}, each for one process")
    return Hosts(this, number, together)


def join(coordinator: str, hosts: Hosts) -> None:
    """Meets the other processes; where they do not come, or one dies later, JAX aborts this process.

    Args:
      coordinator: `host:port` of process 0.
      hosts: who this is.
    """
    if hosts.together:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    else:
        jax.local_devices()  # with its backend made before it joins, a process keeps its devices to itself
    global_state.initialize(
        coordinator,
        hosts.number,
        hosts.this,
        cluster_detection_method="deactivate",
        initialization_timeout=JOIN_SECONDS,
        heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        shutdown_timeout_seconds=HEARTBEAT_SECONDS,
    )
    if hosts.together:
        jax.devices()  # joining devices is a meeting too, with a timeout of minutes


def meet(hosts: Hosts, name: str) -> None:
    """Waits until all processes are here.

    Args:
      hosts: the processes.
      name: of the meeting, each once.
    """
    if hosts.number > 1:
        _client().wait_at_barrier(name, WAIT_MS)


def deal(hosts: Hosts, names: Sequence[str], what: str) -> list[str]:
    """Deals a list out: process i of n gets every n-th entry, from the i-th on; all, if they are together.

    Args:
      hosts: the processes.
      names: the list; that of process 0 counts, so that all have the same.
      what: the names are of, each once.

    Returns:
      This process's share.
    """
    if hosts.number == 1:
        return list(names)
    if hosts.this == 0:
        _client().key_value_set(what, json.dumps(names))
    found = json.loads(_client().blocking_key_value_get(what, WAIT_MS))
    return found if hosts.together else found[hosts.this :: hosts.number]


def leave(hosts: Hosts) -> None:
    """Says goodbye, so that this process's end is not taken for its death."""
    if hosts.number > 1:
        jax.distributed.shutdown()


def _client() -> Any:
    return global_state.client
