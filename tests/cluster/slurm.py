"""A real Slurm on this machine: one controller, nodes of two partitions, fake GPUs."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue")
# The profile, looking at the queue as often as suits a machine that has nothing else to do.
THROUGH_SLURM = ("--workflow-profile", "profiles/slurm")
THROUGH_SLURM += ("--slurm-init-seconds-before-status-checks", "3")
CPUS = 4  # of a node
THROUGH_SLURM += ("--cores", str(CPUS))  # else a group may ask for more than there are
# Jobs lose SLURM_CONF on their way to srun, which then looks here: nodes see a folder of their own.
ETC = "/etc/slurm"
IN_ETC = ("unshare", "--mount", "sh", "-c", f'mount --bind "$0" {ETC} && exec "$@"')
NODES = {"cpu1": "cpu", "cpu2": "cpu", "gpu1": "gpu"}

CONFIG = """\
ClusterName=keygenes
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/run/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/run/slurmctld.pid
SlurmdPidFile={root}/run/slurmd-%n.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd-%n.log
SlurmdParameters=config_overrides
SlurmdTimeout=10
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=5,bf_interval=5,sched_min_interval=0
GresTypes=gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill,UsePss
AccountingStorageType=accounting_storage/none
KillWait=5
MinJobAge=7200
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} "
NODE += "RealMemory=64000"
# Files that are devices: Slurm counts them as GPUs, and hands them out.
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")
GRES = "".join(f"NodeName=gpu1 Name=gpu Type=h200 File={device}\n" for device in DEVICES)


def not_possible():
    """Return why no Slurm can be started here, or None where one can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if os.geteuid() != 0:
        return "starting a Slurm needs root"
    if missing:
        return f"no {', '.join(missing)} (as root, make test-cluster installs them)"
    if not Path(ETC).is_dir() or not answers(*IN_ETC, ETC, "true"):
        return f"no right to mount a folder over {ETC} (a container without CAP_SYS_ADMIN?)"
    return None


def free_ports(n):
    """Return n ports that nothing listens on."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in found]


def write_config(root):
    """Write the configuration of controller and nodes below `root`, and the folders it names."""
    for name in ("state", "log", "run", *(f"spool/{node}" for node in NODES)):
        (root / name).mkdir(parents=True)
    host = socket.gethostname().split(".")[0]
    port, *ports = free_ports(1 + len(NODES))
    lines = [CONFIG.format(host=host, port=port, root=root)]
    for (name, partition), node_port in zip(NODES.items(), ports, strict=True):
        gpus = f" Gres=gpu:h200:{len(DEVICES)}" if partition == "gpu" else ""
        lines.append(NODE.format(name=name, host=host, port=node_port, cpus=CPUS) + gpus + "\n")
    lines.append("PartitionName=cpu Nodes=cpu1,cpu2 Default=YES\nPartitionName=gpu Nodes=gpu1\n")
    (root / "slurm.conf").write_text("".join(lines), encoding="utf-8")
    (root / "gres.conf").write_text(GRES, encoding="utf-8")
    (root / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n", encoding="utf-8")
    (root / "munge.key").write_bytes(os.urandom(128))
    (root / "munge.key").chmod(0o600)


@contextmanager
def daemon(root, name, *command):
    """Run a daemon in the foreground, in a session of its own, until the end."""
    with open(root / f"log/{name}.out", "ab") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until(condition, what, timeout=60):
    """Wait until ``condition()`` is true, or fail saying what was waited for."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"waited {timeout} s for {what}"
        time.sleep(0.2)


def answers(*command, **environment):
    """Return whether a command succeeds."""
    env = {**os.environ, **environment}
    return subprocess.run(command, env=env, capture_output=True, timeout=30).returncode == 0


def mounts_of(pid):
    """Return what identifies the mounts that a process sees; None where it is gone."""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return None


def fields(line):
    """Return the key=value pairs of a line of scontrol."""
    return dict(pair.split("=", 1) for pair in line.split() if "=" in pair)


class Cluster:
    """A running Slurm.

    Attributes
    ----------
    root : pathlib.Path
        Folder with its configuration, state and logs.
    environment : dict
        What a process needs in its environment to talk to it.
    nodes : dict
        {name: process of its slurmd}.
    """

    def __init__(self, root, stack):
        self.root, self.nodes, self._stack = root, {}, stack
        self.environment = {"SLURM_CONF": str(root / "slurm.conf")}

    def call(self, *command):
        """Return what a Slurm command prints."""
        run = subprocess.run(
            command,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert run.returncode == 0, f"{' '.join(command)}: {run.stderr}"
        return run.stdout

    def start_node(self, name):
        """Start the slurmd of a node, and wait until it takes jobs."""
        command = (*IN_ETC, str(self.root), "slurmd", "-D", "-N", name)
        self.nodes[name] = self._stack.enter_context(daemon(self.root, name, *command))
        wait_until(lambda: self.state(name) in ("IDLE", "MIXED", "ALLOCATED"), f"node {name}")

    def kill_daemon(self, name):
        """Kill the slurmd of a node; what it has started goes on."""
        self.nodes[name].kill()
        self.nodes[name].wait()

    def kill_node(self, name):
        """Kill all that runs on a node at once, as when its power fails.

        What a slurmd has started, and nothing else, sees the same mounted folders as it.
        """
        mounts = mounts_of(self.nodes[name].pid)
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            if mounts_of(pid) == mounts:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.nodes[name].wait()

    def state(self, name):
        """Return the state of a node, e.g. 'IDLE' or 'DOWN*'."""
        return fields(self.call("scontrol", "-o", "show", "node", name))["State"].split("+")[0]

    def jobs(self):
        """Return what Slurm knows of every job, finished or not, as dicts by rising id."""
        found = map(fields, self.call("scontrol", "-o", "show", "jobs").splitlines())
        return sorted((job for job in found if "JobId" in job), key=lambda job: int(job["JobId"]))

    def cancel_all(self):
        """Cancel what runs or waits, and wait until it is gone."""
        if not self.call("squeue", "-h"):
            return
        for name, process in self.nodes.items():
            if process.poll() is not None:
                self.start_node(name)  # what it had started must end as well
        self.call("scancel", "--full", "--user", "root")
        wait_until(lambda: not self.call("squeue", "-h"), "cancelled jobs")


@contextmanager
def running_slurm(root):
    """Start a Slurm whose files are all below `root`; stop it, and nothing else, at the end.

    Parameters
    ----------
    root : pathlib.Path
        An empty folder.

    Yields
    ------
    Cluster
    """
    write_config(root)
    run, log = root / "run", root / "log"
    with ExitStack() as stack:
        munged = ["munged", "--foreground", "--force", f"--key-file={root}/munge.key"]
        munged += [f"--socket={run}/munge.socket", f"--pid-file={run}/munged.pid"]
        munged += [f"--log-file={log}/munged.log", f"--seed-file={run}/munged.seed"]
        stack.enter_context(daemon(root, "munged", *munged))
        wait_until((run / "munge.socket").exists, "munged")
        command = ("slurmctld", "-D", "-f", str(root / "slurm.conf"))
        stack.enter_context(daemon(root, "slurmctld", *command))
        cluster = Cluster(root, stack.enter_context(ExitStack()))
        wait_until(lambda: answers("scontrol", "ping", **cluster.environment), "slurmctld")
        stack.callback(cluster.cancel_all)  # before the nodes stop
        for name in NODES:
            cluster.start_node(name)
        yield cluster
