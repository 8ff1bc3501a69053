"""Several processes that work on one evaluation, as torchrun or Slurm starts them.

Frozen protocols cut their work into pieces of fixed composition and deal the pieces
out; what comes back is placed by the piece's number, never by the process's.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from ssl_bench.errors import BenchError, UsageError
from ssl_bench.launch import slurm
from ssl_bench.launch.watch import Watch

LAUNCHERS = ("none", "pytorch", "slurm")

_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_COME_TOGETHER = timedelta(minutes=10)
# One process may wait for hours for what another job extracts. Who hangs or dies is
# found by the watch, not by a collective that ran out of time.
_WORK = timedelta(days=30)

T = TypeVar("T")
_talk: Any = None
"""The group of processes by which objects go from one to another, on the CPU."""


def rank() -> int:
    """Return the number of this process among those that work together."""
    return distributed.get_rank() if _started() else 0


def world() -> int:
    """Return how many processes work together."""
    return distributed.get_world_size() if _started() else 1


def beside() -> int:
    """Return how many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if _started() else 1


def cores() -> int:
    """Return how many cores this process may use beside the others on this machine."""
    usable = len(os.sched_getaffinity(0))
    own = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if _started() and own.isdecimal():
        return max(1, min(usable, int(own)))
    return max(1, usable // beside())


def _started() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def dealt(pieces: Sequence[T]) -> list[T]:
    """Return the pieces of work that this process does: every world-th, from its rank.

    Every process must ask with the same pieces.
    """
    return list(pieces[rank() :: world()])


def meet() -> None:
    """Wait until every process is here."""
    if world() > 1:
        distributed.barrier(group=_talk)


def share(value: T) -> T:
    """Return what process 0 has; the others' values do not matter."""
    if world() == 1:
        return value
    box: list[Any] = [value if rank() == 0 else None]
    distributed.broadcast_object_list(box, src=0, group=_talk)
    found: T = box[0]
    return found


def gather(value: T) -> list[T]:
    """Return what every process has, in the order of their numbers."""
    if world() == 1:
        return [value]
    found: list[Any] = [None] * world()
    distributed.all_gather_object(found, value, group=_talk)
    return found


def gather_arrays(array: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the arrays of every process, all of one shape and dtype."""
    if world() == 1:
        return [array]
    own = torch.from_numpy(np.ascontiguousarray(array))
    found = [torch.empty_like(own) for _ in range(world())]
    distributed.all_gather(found, own, group=_talk)
    return [other.numpy() for other in found]


def agree(mark: str, what: str) -> None:
    """Check that all processes have the same.

    Args:
        mark: a digest of it.
        what: it is, for the message.

    Raises:
        BenchError: naming the first process that has another one than process 0.
    """
    if world() == 1:
        return
    first, *others = gather((mark, whoami()))
    for found, who in others:
        if found != first[0]:
            raise BenchError(
                f"{who} does not see the same {what} as {first[1]}; give all of them "
                "the same files, and see that no copy on a machine is an old one"
            )


def whoami() -> str:
    """Name this process for a message: its number, machine and process id."""
    return f"process {rank()} ({socket.gethostname()}, pid {os.getpid()})"


@contextmanager
def together(launcher: str, device: str) -> Iterator[str]:
    """Join the processes that were started together; leave them at the end.

    When one of them fails, dies or is not heard of any more, the others end within a
    minute with a sentence that names it.

    Args:
        launcher: ``none`` for a single process, ``pytorch`` below torchrun, ``slurm``
            below srun.
        device: as the user named it.

    Yields:
        The device of this process.

    Raises:
        UsageError: when the launcher did not start this process, or several were
            started that know nothing of each other.
        BenchError: when they do not find together, or one of them is lost.
    """
    if launcher == "none":
        refuse_strangers()
        yield device
        return
    _prepare(launcher)
    device, on_gpu = _own_device(device)
    global _talk
    store = _join(on_gpu)
    watch = Watch(store, rank(), world())
    try:
        if on_gpu:
            _talk = distributed.new_group(backend="gloo", timeout=_WORK)
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(cores())
        watch.start(gather(socket.gethostname()), gather(os.getpid()))
        yield device
        # Nobody leaves while another one still works and may yet ask or fail.
        meet()
    except BaseException as error:
        watch.failed(error)  # does not come back where another process has said it
        raise
    else:
        watch.stop()
        distributed.destroy_process_group()
    finally:
        _talk = None


def refuse_strangers(*, shared: bool = True) -> None:
    """Refuse to run the same evaluation several times at once.

    Args:
        shared: whether the command can share its work.

    Raises:
        UsageError: when a launcher started several processes without ``--launcher``.
    """
    for name, launcher in (
        ("WORLD_SIZE", "pytorch"),
        ("SLURM_STEP_NUM_TASKS", "slurm"),
    ):
        count = os.environ.get(name, "1")
        if count.isdecimal() and int(count) > 1:
            how = f"pass --launcher {launcher}, or start one" if shared else "start one"
            raise UsageError(
                f"{count} processes were started ({name}), each of which would do all "
                f"the work; {how}"
            )


def _prepare(launcher: str) -> None:
    if launcher == "slurm":
        os.environ.update(slurm.variables(os.environ))
        return
    missing = [name for name in _TORCHRUN if name not in os.environ]
    if missing:
        raise UsageError(
            f"--launcher {launcher} needs {', '.join(missing)} in the environment; "
            "start it with torchrun --nproc_per_node=N -m ssl_bench ..."
        )


def _own_device(device: str) -> tuple[str, bool]:
    """Return the device of this process, and whether it is a GPU."""
    usable = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not (device.startswith("cuda") or (device == "auto" and usable)):
        return device, False
    number = int(os.environ["LOCAL_RANK"])
    # Slurm may show every task its own GPU only.
    if number >= usable > 1 or not usable:
        raise BenchError(
            f"process {os.environ['RANK']} is number {number + 1} on "
            f"{socket.gethostname()}, which has {usable} usable GPUs; start at most "
            "one process for each GPU, or pass --device cpu"
        )
    device = f"cuda:{number % usable}"
    torch.cuda.set_device(device)
    return device, True


def _join(on_gpu: bool) -> Any:
    """Find the other processes; return the store that they share.

    Raises:
        BenchError: when the port is taken or not all of them come.
    """
    where = f"{os.environ['MASTER_ADDR']} port {os.environ['MASTER_PORT']}"
    try:
        store, number, count = next(iter(rendezvous("env://", timeout=_COME_TOGETHER)))
        store.set_timeout(_COME_TOGETHER)
        distributed.init_process_group(
            "nccl" if on_gpu else "gloo",
            store=PrefixStore("group", store),
            rank=number,
            world_size=count,
            timeout=_WORK,
        )
    except (RuntimeError, ValueError) as error:
        text = str(error)
        if "EADDRINUSE" in text or "in use" in text:
            raise BenchError(
                f"{where} is taken by another program; set MASTER_PORT (PORT for the "
                "launch files) to a free one"
            ) from error
        raise BenchError(
            f"process {os.environ['RANK']} on {socket.gethostname()} did not find the "
            f"{os.environ['WORLD_SIZE']} processes at {where} within "
            f"{_COME_TOGETHER.seconds // 60} minutes ({_first_line(text)}); see that "
            "all of them run and reach that address"
        ) from error
    return store


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
