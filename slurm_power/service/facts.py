"""What a job asks of Slurm, in one shape, whether the submit hook tells it or Slurm's own record does."""

import re
from collections.abc import Mapping
from dataclasses import replace

from slurm_power.core.binding import PREFIX, foreign_licences, strip_ours
from slurm_power.core.claim import Charge
from slurm_power.core.immutable import immutable
from slurm_power.core.nodes import NodeAsk
from slurm_power.core.record import Standing, find_record
from slurm_power.ports import JobRecord
from slurm_power.service.world import expand

_INFINITE = 4_294_967_295
_NO_VALUES = frozenset({4_294_967_294, 65_534, 65_535, 254, 255})
_EXCLUSIVE = 0
_GPU = re.compile(r"(?:gres[:/])?gpu(?::[A-Za-z][\w.-]*)?(?:[:=](\d{1,18}))?")
_TYPED = re.compile(r"(?:gres[:/])?gpu[:/]([A-Za-z][\w.-]*)(?:[:=](\d{1,18}))?", re.ASCII)
_PER_GPU = re.compile(r"(?:gres[:/])?gpu[:=](\d{1,18})", re.ASCII)
_LAYOUT = frozenset(
    ("ntasks_per_socket", "ntasks_per_core", "threads_per_core", "cores_per_socket", "sockets_per_node")
)
_TRES = ("tres_per_node", "gres", "tres_per_socket", "tres_per_task", "tres_per_job")
_NUMBER = r"\s*\+?(\d{1,18})"
_RANGE = re.compile(rf"{_NUMBER}(?:-{_NUMBER}(?::{_NUMBER})?)?\s*", re.ASCII)
_THROTTLE = re.compile(_NUMBER, re.ASCII)
_MOST_TASKS = 4_000_001
"""Slurm takes no larger array."""


@immutable
class ArraySpec:
    """An array's number of tasks, and how many of them may run at once (None: all)."""

    tasks: int
    throttle: int | None = None

    @property
    def at_once(self) -> int:
        """The most tasks that can hold watts at one time."""
        return self.tasks if self.throttle is None else min(self.tasks, self.throttle)


@immutable
class JobFacts:
    """A job as its user described it. None and empty stand for "not given"."""

    uid: int
    user: str = ""
    account: str = ""
    qos: str = ""
    default_qos: str = ""
    partitions: tuple[str, ...] = ()
    name: str = ""
    nodes: int | None = None
    max_nodes: int | None = None
    tasks: int = 1
    tasks_per_node: int | None = None
    cpus: int = 1
    """CPUs of the whole job."""
    gpus: int = 0
    """GPUs of the whole job, as far as they do not depend on its nodes."""
    gpus_per_node: int = 0
    cpus_per_task: int = 1
    gpus_per_task: int = 0
    tasks_per_gpu: int | None = None
    cpus_per_gpu: int = 0
    memory_mb: int = 0
    """Of each node."""
    memory_per_cpu_mb: int = 0
    memory_per_gpu_mb: int = 0
    gpu_types: tuple[tuple[str, int], ...] = ()
    """GPUs by type that every one of its nodes has to have."""
    layout: bool = False
    """Whether it asks for sockets, cores or threads."""
    exclusive: bool = False
    time_limit_s: int | None = None
    unlimited: bool = False
    begin: int = 0
    dependency: str = ""
    features: str = ""
    prefer: str = ""
    """`--prefer`: where Slurm finds such nodes it takes them *instead of* those of `features`."""
    licenses: str = ""
    tres: str = ""
    """Every TRES request, as written: newer Slurm takes licences there too."""
    required_nodes: str = ""
    excluded_nodes: str = ""
    reservation: str = ""
    comment: str = ""
    admin_comment: str = ""
    charges: tuple[Charge, ...] = ()
    """What it was admitted with, where Slurm's own record of it says so."""
    array: ArraySpec | None = None
    het: bool = False
    cron: bool = False
    batch: bool = True
    requeue: bool | None = None
    """Whether it may be requeued; None: as the cluster has it."""
    user_hold: bool = False

    @property
    def nodes_fixed(self) -> bool:
        """Whether Slurm may give it just so many nodes; Slurm's own record of a job does not say so."""
        return self.nodes is not None and self.nodes == self.max_nodes

    @property
    def memory_asked(self) -> bool:
        """Whether it asks for memory, in any way."""
        return bool(self.memory_mb or self.memory_per_cpu_mb or self.memory_per_gpu_mb)

    @property
    def may_need_more(self) -> bool:
        """Whether Slurm may need more nodes than `shape` can tell: it rounds memory and counts cores its own way."""
        return self.layout or self.memory_per_cpu_mb > 0 or self.memory_per_gpu_mb > 0

    def shape(self, node_cpus: int, node_gpus: int, node_memory_mb: int = 0) -> NodeAsk:
        """What it asks of each node, on nodes of this size; nodes that it does not name follow from what it needs."""
        cpus, gpus = max(node_cpus, 1), min(node_gpus, self.gpus_per_node or node_gpus)
        if node_memory_mb and self.memory_per_cpu_mb:
            cpus = min(cpus, max(node_memory_mb // self.memory_per_cpu_mb, 1))
        if node_memory_mb and self.memory_per_gpu_mb:
            gpus = min(gpus, max(node_memory_mb // self.memory_per_gpu_mb, 1))
        if self.cpus_per_gpu:
            gpus = min(gpus, max(cpus // self.cpus_per_gpu, 1))
        needed = max(
            self.nodes or 1,
            -(-self.cpus // cpus),
            -(-self.gpus // gpus) if gpus else 1,
            -(-self.tasks // self._tasks_on(cpus, gpus)),
        )
        nodes = min(needed, max(self.max_nodes, self.nodes or 1)) if self.max_nodes is not None else needed
        copies = self.array.at_once if self.array else 1
        gpus = max(self.gpus_per_node, -(-self.gpus // nodes))
        cpus = max(1, -(-self.cpus // nodes), gpus * self.cpus_per_gpu)
        return NodeAsk(nodes, max(copies, 1), cpus, gpus, self.exclusive)

    def _tasks_on(self, cpus: int, gpus: int) -> int:
        """The most of its tasks that one node takes, at least 1."""
        whole = self.cpus_per_task + (self.cpus_per_task % 2 if self.cpus_per_task > 1 else 0)  # two threads a core
        limits = [max(cpus // whole, 1)]
        if self.tasks_per_node:
            limits.append(self.tasks_per_node)
        if gpus and self.gpus_per_task:
            limits.append(max(gpus // self.gpus_per_task, 1))
        if gpus and self.tasks_per_gpu:
            limits.append(gpus * self.tasks_per_gpu)
        return min(limits)


def from_hook(job: Mapping[str, object]) -> JobFacts:
    """The facts in the job description that the submit hook sends."""
    tasks = _number(job, "num_tasks")
    per_node = _number(job, "ntasks_per_node")
    nodes = _number(job, "min_nodes")
    required = _text(job, "req_nodes")
    if required:
        nodes = max(nodes or 1, len(expand(required)))  # as Slurm itself counts them
    if tasks is None:
        tasks = per_node * nodes if per_node and nodes else nodes or 1
    cpus_per_task, per_task = _number(job, "cpus_per_task") or 1, count_gpus(_text(job, "tres_per_task"))
    tasks_per_gpu = _number(job, "ntasks_per_tres") or _number(job, "ntasks_per_gpu")
    cpus_per_gpu = _per_gpu(_text(job, "cpus_per_tres"))
    gpus = max(count_gpus(_text(job, "tres_per_job")), tasks * per_task)
    if tasks_per_gpu:
        gpus = max(gpus, -(-tasks // tasks_per_gpu))
    cpus = max(tasks * cpus_per_task, _number(job, "min_cpus") or 1, gpus * cpus_per_gpu)
    limit = _number(job, "time_limit", infinite=True)
    return JobFacts(
        uid=_number(job, "user_id") or 0,
        user=_text(job, "user_name"),
        account=_text(job, "account") or _text(job, "default_account"),
        qos=_text(job, "qos"),
        default_qos=_text(job, "default_qos"),
        partitions=tuple(name for name in _text(job, "partition").split(",") if name),
        name=_text(job, "name"),
        nodes=nodes,
        max_nodes=_number(job, "max_nodes"),
        tasks=tasks,
        tasks_per_node=per_node,
        cpus=cpus,
        gpus=gpus,
        gpus_per_node=count_gpus(_text(job, "tres_per_node") or _text(job, "gres"))
        + (_number(job, "sockets_per_node") or 1) * count_gpus(_text(job, "tres_per_socket")),
        cpus_per_task=cpus_per_task,
        gpus_per_task=per_task,
        tasks_per_gpu=tasks_per_gpu,
        cpus_per_gpu=cpus_per_gpu,
        memory_mb=_number(job, "min_mem_per_node") or 0,
        memory_per_cpu_mb=_number(job, "min_mem_per_cpu") or 0,
        memory_per_gpu_mb=_per_gpu(_text(job, "mem_per_tres")),
        gpu_types=_gpu_types(job),
        layout=not _LAYOUT.isdisjoint(job) and any(_number(job, name) is not None for name in _LAYOUT),
        exclusive=_number(job, "shared", zero=True) == _EXCLUSIVE,
        time_limit_s=None if limit is None or limit == _INFINITE else limit * 60,
        unlimited=limit == _INFINITE,
        begin=_number(job, "begin_time") or 0,
        dependency=_text(job, "dependency"),
        features=_text(job, "features"),
        prefer=_text(job, "prefer"),
        licenses=_text(job, "licenses"),
        tres=",".join(_text(job, f"tres_per_{what}") for what in ("job", "node", "socket", "task")),
        required_nodes=required,
        excluded_nodes=_text(job, "exc_nodes"),
        reservation=_text(job, "reservation"),
        comment=_text(job, "comment"),
        admin_comment=_text(job, "admin_comment"),
        array=parse_array(_text(job, "array_inx")),
        het=_number(job, "het_job_offset", zero=True) is not None and not job.get("cron_job"),
        cron=bool(job.get("cron_job")),
        batch=bool(job.get("batch", True)),
        requeue=None if (requeue := _number(job, "requeue", zero=True)) is None else requeue != 0,
        user_hold=_number(job, "priority", zero=True) == 0,
    )


def from_record(record: JobRecord) -> JobFacts:
    """The facts in Slurm's own record of a job. Licences and features may contain our binding."""
    waits = record.array_tasks != ""
    found = find_record(record.admin_comment)
    excluded = found.own_excluded if found is not None else None
    return JobFacts(
        uid=record.uid,
        user=record.user,
        account=record.account,
        # Slurm does not say whether the user asked for this QOS or got it by default: tier= may still ask for another.
        default_qos=record.qos,
        partitions=tuple(record.partition.split(",")) if record.partition else (),
        name=record.name,
        nodes=record.node_count,
        cpus=record.cpus,
        gpus=record.gpus,
        exclusive=record.exclusive,
        time_limit_s=record.time_limit_s,
        unlimited=record.time_limit_s is None,
        begin=record.eligible_time or 0,
        dependency=record.dependency,
        features=record.features,
        licenses=record.licenses,
        required_nodes=record.required_nodes,
        excluded_nodes=record.excluded_nodes if excluded is None else excluded,
        reservation=record.reservation,
        comment=record.comment,
        admin_comment=record.admin_comment,
        charges=found.charges if found is not None and found.standing is Standing.ADMIT else (),
        array=ArraySpec(count_tasks(record.array_tasks), record.array_throttle) if waits else None,
        het=record.het_job_id is not None,
        batch=record.batch,
        requeue=record.requeue,
        user_hold=record.held,
    )


def with_unseen(facts: JobFacts, known: JobFacts) -> JobFacts:
    """The facts in Slurm's record of a job, with what was asked at submission and the record does not show."""
    return replace(
        facts,
        cpus_per_task=known.cpus_per_task,
        gpus_per_task=known.gpus_per_task,
        cpus_per_gpu=known.cpus_per_gpu,
        memory_mb=known.memory_mb,
        memory_per_cpu_mb=known.memory_per_cpu_mb,
        memory_per_gpu_mb=known.memory_per_gpu_mb,
        gpu_types=known.gpu_types,
        layout=known.layout,
    )


def same_request(one: JobRecord, other: JobRecord) -> bool:
    """Whether two records of a job ask for the same; what binds or holds it, and where its tasks stand, is left out."""
    return _request_of(one) == _request_of(other)


def _request_of(record: JobRecord) -> tuple[object, ...]:
    return (
        record.account,
        record.qos,
        record.partition,
        record.name,
        record.node_count,
        record.cpus,
        record.gpus,
        record.exclusive,
        record.time_limit_s,
        record.dependency,
        strip_ours(record.features),
        foreign_licences(record.licenses),
        record.required_nodes,
        "" if record.reservation.startswith(PREFIX) else record.reservation,
        record.comment,
    )


def count_gpus(tres: str) -> int:
    """GPUs in a TRES or GRES list: `gres:gpu:8`, `gres/gpu:h100=4,gres/nvme:1`, `gpu`."""
    total = 0
    if not tres:
        return total
    for part in tres.split(","):
        match = _GPU.fullmatch(part.strip())
        if match is not None:
            total += int(match[1] or 1)
    return total


def count_tasks(expression: str) -> int:
    """Tasks in an array's index expression: `0-99`, `1,3,5-9:2`; what cannot be read counts as one."""
    total = 0
    for part in expression.strip().removeprefix("[").removesuffix("]").split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            return max(total, 1)
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        total += max(last - first, -1) // max(step, 1) + 1
    return min(total, _MOST_TASKS)


def task_ids(expression: str) -> list[int]:
    """The task ids of an array's index expression, as Slurm prints it."""
    ids: list[int] = []
    for part in expression.split(","):
        bounds, _, step = part.partition(":")
        first, _, last = bounds.partition("-")
        ids.extend(range(int(first), int(last or first) + 1, int(step or 1)))
    return ids


def parse_array(expression: str) -> ArraySpec | None:
    """`0-99%10` as given to `sbatch --array`; None when empty."""
    if not expression:
        return None
    tasks, _, throttle = expression.partition("%")
    limit = _THROTTLE.match(throttle)
    return ArraySpec(count_tasks(tasks), (int(limit[1]) or None) if limit else None)


def _gpu_types(job: Mapping[str, object]) -> tuple[tuple[str, int], ...]:
    """The types of GPUs that every node has to have, and how many; of what is asked for the whole job, one."""
    types: dict[str, int] = {}
    for key in _TRES:
        text = _text(job, key)
        if not text:
            continue
        found = [match for part in text.split(",") if (match := _TYPED.fullmatch(part.strip()))]
        if key == "tres_per_job" and len(found) > 1:
            continue  # some nodes may give one type and some the other
        for match in found:
            count = 1 if key == "tres_per_job" else int(match[2] or 1)
            types[match[1]] = max(types.get(match[1], 0), count)
    return tuple(sorted((name, count) for name, count in types.items() if count))


def _per_gpu(tres: str) -> int:
    """What is asked for with each GPU: 16 in `gres:gpu:16`; 0 where nothing is."""
    match = _PER_GPU.fullmatch(tres.strip()) if tres else None
    return int(match[1]) if match else 0


def _text(job: Mapping[str, object], key: str) -> str:
    value = job.get(key)
    return value if isinstance(value, str) else ""


def _number(job: Mapping[str, object], key: str, *, zero: bool = False, infinite: bool = False) -> int | None:
    value = job.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    number = int(value)
    if number in _NO_VALUES or number < 0 or (number == _INFINITE and not infinite):
        return None
    return number if number or zero else None
