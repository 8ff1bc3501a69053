"""A Slurm of one machine for tests, below a temporary folder, gone when they end."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "squeue", "scontrol")
_SBIN = "/usr/sbin"
_SECONDS = 60.0

# A job that is put back into the queue waits for cred_expire, 120 s by default; less
# than 5 is not taken.

CONFIG = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CryptoType=crypto/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
PlugStackConfig={folder}/plugstack.conf
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=bf_interval=2,sched_interval=2,sched_min_interval=100000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
MaxArraySize={array}
MaxJobCount=20000
KillWait=10
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000
PartitionName=cpu Nodes={host} Default=YES MaxTime=1-00:00:00 PriorityTier=1 GraceTime=8
PartitionName=urgent Nodes={host} MaxTime=1:00:00 PriorityTier=9
"""


class Slurm:
    """Daemons of one cluster: munged, slurmctld and slurmd, as children.

    Args:
        folder: with a short path, since it holds a socket.
        max_array: indices of a job array are below it.
    """

    def __init__(self, folder: Path, max_array: int = 2001) -> None:
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._max_array = max_array

    def environment(self) -> dict[str, str]:
        """Return the environment in which Slurm's commands find this cluster."""
        path = f"{os.environ.get('PATH', '')}:{_SBIN}"
        return {**os.environ, "SLURM_CONF": str(self.conf), "PATH": path}

    def start(self) -> None:
        """Start the daemons and wait until the node takes jobs."""
        for name in ("state", "spool", "munge"):
            (self.folder / name).mkdir()
        (self.folder / "plugstack.conf").touch()
        key = self.folder / "munge" / "key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        self.conf.write_text(
            CONFIG.format(
                host=socket.gethostname().split(".")[0],
                folder=self.folder,
                user=_user(),
                controller=_free_port(),
                node=_free_port(),
                array=self._max_array,
            )
        )
        munge = self.folder / "munge"
        self._start(
            "munged", "--foreground", "--force", f"--key-file={key}",
            f"--socket={munge}/socket", f"--pid-file={munge}/pid",
            f"--log-file={munge}/log", f"--seed-file={munge}/seed",
        )  # fmt: skip
        _wait(lambda: (munge / "socket").exists(), "munged makes no socket")
        self._start("slurmctld", "-D", "-i")
        self._start("slurmd", "-D")
        _wait(lambda: self.ask("sinfo", "-h", "-o", "%T") == "idle", self._why())

    def ask(self, *command: str) -> str:
        """Return what one of Slurm's commands prints, or nothing where it fails."""
        done = subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, timeout=60
        )
        return done.stdout.strip().splitlines()[0] if done.stdout.strip() else ""

    def stop(self) -> None:
        """End every job, then the daemons."""
        with contextlib.suppress(subprocess.SubprocessError):
            self.ask("scancel", f"--user={_user()}")
            deadline = time.monotonic() + 20
            while self.ask("squeue", "-h") and time.monotonic() < deadline:
                time.sleep(0.2)
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in reversed(self._daemons):
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(10)
            daemon.kill()
            daemon.wait()

    def _start(self, *command: str) -> None:
        # The kernel ends them where the tests are killed.
        log = (self.folder / f"{command[0]}.out").open("wb")
        self._daemons.append(
            subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        )
        log.close()

    def _why(self) -> str:
        return f"Slurm's node does not become idle; see the logs in {self.folder}"


def missing() -> list[str]:
    """Return the programs of Slurm that are not installed."""
    path = f"{os.environ.get('PATH', '')}:{_SBIN}"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


@contextlib.contextmanager
def running(max_array: int = 2001) -> Iterator[Slurm]:
    """Start a Slurm, and stop it at the end whatever happens.

    Raises:
        RuntimeError: when it is not installed or does not start.
    """
    absent = missing()
    if absent:
        raise RuntimeError(
            f"{', '.join(absent)} not found: these tests run on a real Slurm; "
            "install it with apt-get install slurm-wlm munge"
        )
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    folder.chmod(0o755)
    slurm = Slurm(folder, max_array)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait(holds: object, complaint: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while not holds():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise RuntimeError(complaint)
        time.sleep(0.1)
