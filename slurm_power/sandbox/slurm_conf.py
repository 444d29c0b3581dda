"""slurm.conf and its companions for many nodes on one machine.

Everybody is addressed at 127.0.0.1. Slurm's daemons listen at every address all the same: told not to, they would bind
to what the machine's own name resolves to, which may be another address or nothing. munge's key keeps strangers out.
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass

from slurm_power.sandbox import users
from slurm_power.sandbox.layout import Layout, write_file

CPUS = 64
MEMORY_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Node:
    """A node that only pretends: its slurmd listens at a port of 127.0.0.1."""

    name: str
    port: int
    feature: str
    """That of its zone."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition; the first of a list is the default."""

    name: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """Everything that slurm.conf has to say."""

    cluster: str
    ctld_port: int
    dbd_port: int
    nodes: tuple[Node, ...]
    partitions: tuple[Partition, ...]
    gpus: int
    version: tuple[int, int, int]
    power: str = ""
    """The lines of slurm_power itself: hook, launch gate, licences."""


def write_slurm_conf(layout: Layout, plan: ClusterPlan) -> None:
    """Write slurm.conf, gres.conf and cgroup.conf."""
    write_file(layout.slurm_conf, slurm_conf(layout, plan))
    if plan.gpus:
        _write_gres(layout, plan.gpus)
    # nothing here uses control groups; left to find out by itself, slurmd dies where there are none, as in containers
    plugin = "disabled" if plan.version >= (23, 11, 0) else "cgroup/v1"
    write_file(layout.etc / "cgroup.conf", f"CgroupPlugin={plugin}\n")


def slurm_conf(layout: Layout, plan: ClusterPlan) -> str:
    """The text of slurm.conf."""
    lines = [f"{name}={value}" for name, value in _settings(layout, plan).items()]
    gres = f" Gres=gpu:{plan.gpus}" if plan.gpus else ""
    lines += [
        f"NodeName={node.name} NodeAddr=127.0.0.1 Port={node.port} CPUs={CPUS} Sockets=2 CoresPerSocket={CPUS // 2} "
        f"ThreadsPerCore=1 RealMemory={MEMORY_MB}{gres} Feature={node.feature} State=UNKNOWN"
        for node in plan.nodes
    ]
    for index, partition in enumerate(plan.partitions):
        default = "YES" if index == 0 else "NO"
        nodes = ",".join(partition.nodes)
        lines.append(
            f"PartitionName={partition.name} Nodes={nodes} Default={default} "
            "DefaultTime=01:00:00 MaxTime=7-00:00:00 State=UP"
        )
    return "\n".join([*lines, plan.power]) + "\n"


def _write_gres(layout: Layout, gpus: int) -> None:
    """GPUs that do not exist: slurmd counts none that has no device, and any device will do."""
    layout.gpus.mkdir()
    for index in range(gpus):
        (layout.gpus / f"gpu{index}").symlink_to("/dev/null")
    files = f"{layout.gpus}/gpu[0-{gpus - 1}]" if gpus > 1 else f"{layout.gpus}/gpu0"
    write_file(layout.etc / "gres.conf", f"Name=gpu File={files}\n")


def _settings(layout: Layout, plan: ClusterPlan) -> Mapping[str, object]:
    owner = users.me()
    return {
        "ClusterName": plan.cluster,
        "SlurmctldHost": f"{socket.gethostname().split('.')[0]}(127.0.0.1)",
        "SlurmctldPort": plan.ctld_port,
        "SlurmUser": owner,
        "SlurmdUser": owner,
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={layout.munge_socket}",
        "StateSaveLocation": layout.save,
        "SlurmctldPidFile": layout.run / "slurmctld.pid",
        "SlurmdPidFile": f"{layout.run}/slurmd-%n.pid",
        "SlurmdSpoolDir": f"{layout.spool}/%n",
        "SlurmctldLogFile": layout.log / "slurmctld.log",
        "SlurmdLogFile": f"{layout.log}/slurmd-%n.log",
        "SlurmdParameters": "config_overrides",  # a node has the CPUs that are written here
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "MailProg": "/bin/true",
        "ReturnToService": 2,
        "SlurmdTimeout": 60,
        "MessageTimeout": 30,
        "KillWait": 5,
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core",
        "GresTypes": "gpu",
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": "batch_sched_delay=1,sched_interval=10,bf_interval=5",  # nobody likes to wait
        "PriorityType": "priority/multifactor",
        "PriorityFlags": "ACCRUE_ALWAYS",
        "PriorityWeightQOS": 10_000,
        "PriorityWeightAge": 1_000,
        "PriorityWeightFairshare": 1_000,
        "PreemptType": "preempt/qos",
        "PreemptMode": "REQUEUE",
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "AccountingStorageHost": "127.0.0.1",
        "AccountingStoragePort": plan.dbd_port,
        "AccountingStoragePass": layout.munge_socket,  # slurmdbd is asked through this, not through AuthInfo
        "AccountingStorageEnforce": "associations,limits,qos",
        "AccountingStorageTRES": "gres/gpu",
    }
