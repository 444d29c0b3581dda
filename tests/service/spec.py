"""Submissions: what a user writes, what the hook is told of it, and what it truly draws."""

from dataclasses import dataclass
from typing import Any

from tests.service.support import USERS


@dataclass(frozen=True)
class Spec:
    """A submission, and what it truly draws: est and max in W of one task or component."""

    uid: int = 1001
    name: str = "train"
    est_w: int = 5_000
    max_w: int = 6_500
    comment: str = "power:est=5kW,max=6500W"
    nodes: int = 1
    cpus: int = 1
    gpus: int = 0
    exclusive: bool = False
    minutes: int = 60
    qos: str = ""
    array: str = ""
    features: str = ""
    licenses: str = ""
    hold: bool = False
    begin_s: int = 0
    after: int = 0
    """The job that it depends on; 0: none."""
    batch: bool = True
    requeue: bool = True
    runs_s: int = 600
    partition: str = "main"
    cron: bool = False

    def described(self, now: int) -> dict[str, object]:
        """As the hook describes it."""
        given: dict[str, object] = {
            "user_id": self.uid,
            "user_name": USERS[self.uid],
            "account": "research",
            "name": self.name,
            "comment": self.comment,
            "min_nodes": self.nodes,
            "min_cpus": self.cpus,
            "num_tasks": self.nodes,
            "time_limit": self.minutes,
            "partition": self.partition,
            "qos": self.qos,
            "array_inx": self.array,
            "features": self.features,
            "licenses": self.licenses,
            "dependency": f"afterany:{self.after}" if self.after else "",
            "tres_per_node": f"gres/gpu:{self.gpus}" if self.gpus else "",
            "batch": self.batch,
            "requeue": int(self.requeue),
        }
        given |= {"cron_job": True, "het_job_offset": 0} if self.cron else {}
        given |= {"shared": 0} if self.exclusive else {}
        given |= {"priority": 0} if self.hold else {}
        given |= {"begin_time": now + self.begin_s} if self.begin_s else {}
        return {name: value for name, value in given.items() if value != ""}

    def fields(self) -> dict[str, Any]:
        """As Slurm's record has it."""
        return {
            "uid": self.uid,
            "user": USERS[self.uid],
            "account": "research",
            "name": self.name,
            "comment": self.comment,
            "node_count": self.nodes,
            "cpus": max(self.cpus, self.nodes),
            "gpus": self.gpus * self.nodes,
            "exclusive": self.exclusive,
            "time_limit_s": self.minutes * 60,
            "partition": self.partition,
            "qos": self.qos or "bronze",
            "features": self.features,
            "licenses": self.licenses,
            "dependency": f"afterany:{self.after}" if self.after else "",
            "batch": self.batch,
            "requeue": self.requeue,
        }
