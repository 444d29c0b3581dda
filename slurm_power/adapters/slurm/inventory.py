"""Reading nodes, partitions, licences, reservations, QOS and accounts.

What is printed here is written by administrators, not by users.
"""

import re
from collections.abc import Iterator

from slurm_power.adapters.slurm.runner import Commands
from slurm_power.adapters.slurm.text import (
    count_gpus,
    gpu_types,
    instant,
    licence_counts,
    limit_s,
    lines,
    number,
    plain,
)
from slurm_power.core.errors import SlurmError, SlurmParseError
from slurm_power.ports import (
    AdminLevel,
    LicenseRecord,
    NodeRecord,
    PartitionRecord,
    PreemptionRecord,
    PrivilegeRecord,
    QosRecord,
    ReservationRecord,
)

_PAIR = re.compile(r"(?:^|\s)([\w/:]+)=(\S*)")
_FREE_TEXT = re.compile(r"\s(?:Reason|Comment|Extra)=")
_RESERVATION = re.compile(r"ReservationName=(?P<name>.*) (?=StartTime=\S+ EndTime=\S+ Duration=)")
_STATE_PARTS = re.compile(r"[+*~#!%$@^\-]")
_USABLE = frozenset(("IDLE", "MIXED", "ALLOCATED", "COMPLETING"))
_BLOCKED = frozenset(
    (
        *("DRAIN", "DRAINING", "DRAINED", "DOWN", "FAIL", "FAILING", "NOT_RESPONDING", "INVALID_REG", "INVAL"),
        *("MAINTENANCE", "MAINT", "POWERING_DOWN", "REBOOT_ISSUED", "FUTURE", "BLOCKED", "UNKNOWN", "ERROR"),
    )
)
_NOT_ASKED = frozenset(
    ("DOWN", "FUTURE", "UNKNOWN", "ERROR", "EXTERNAL", "INVALID_REG", "NOT_RESPONDING", "REBOOT_ISSUED")
) | {"POWERED_DOWN", "POWERING_DOWN", "POWERING_UP"}
"""States in which slurmctld does not ask a node for its watts, some of them only in later versions."""
_NO_WATTS = 0xFFFFFFF0
"""From here on Slurm's numbers stand for none, and for sums with one of those."""
_LEVELS = {"Operator": AdminLevel.OPERATOR, "Administrator": AdminLevel.ADMIN}
_NO_ACCOUNTING = re.compile(r"accounting_storage|not running a supported accounting", re.IGNORECASE)


def read_nodes(commands: Commands) -> list[NodeRecord]:
    """All nodes. Raises SlurmError, SlurmParseError."""
    return [_node(fields) for fields in _show(commands, "NodeName", "-a", "-d", "-o", "show", "node")]


def read_node_watts(commands: Commands) -> dict[str, int]:
    """Node → W, of the nodes that are asked for it. Raises SlurmError, SlurmParseError.

    None of them while AcctGatherNodeFreq is 0: slurmctld then knows what a node drew when it registered. It prints 0
    where no plugin measures, `n/s` or `n/a` where one has not measured yet, and what was last measured where it does
    not ask any more, as with a node that does not answer.
    """
    if not int(_configured(commands, "AcctGatherNodeFreq", r"(\d+) sec")):
        return {}
    found = {}
    for fields in _show(commands, "NodeName", "-a", "-d", "-o", "show", "node"):
        watts = number(fields.get("CurrentWatts", "")) or 0
        state = fields.get("State", "*")
        if 0 < watts < _NO_WATTS and "*" not in state and _NOT_ASKED.isdisjoint(state.split("+")):
            found[fields["NodeName"]] = watts
    return found


def read_partitions(commands: Commands) -> list[PartitionRecord]:
    """All partitions, hidden ones too. Raises SlurmError, SlurmParseError."""
    return [
        PartitionRecord(
            name=fields["PartitionName"],
            nodes=plain(fields.get("Nodes", "")),
            default=fields.get("Default") == "YES",
            max_time_s=limit_s(fields.get("MaxTime", "")),
            default_time_s=limit_s(fields.get("DefaultTime", "")),
        )
        for fields in _show(commands, "PartitionName", "-a", "-o", "show", "partition")
    ]


def read_licenses(commands: Commands) -> list[LicenseRecord]:
    """All licences; a layer of a hierarchical resource is named `name(nodes)`. Raises SlurmError, SlurmParseError."""
    return [
        LicenseRecord(
            name=f"{fields['LicenseName']}({fields['Nodes']})" if "Nodes" in fields else fields["LicenseName"],
            total=int(fields["Total"]),
            used=int(fields["Used"]),
            reserved=int(fields.get("Reserved", "0")),
        )
        for fields in _show(commands, "LicenseName", "-o", "show", "license")
    ]


def read_reservations(commands: Commands) -> list[ReservationRecord]:
    """All reservations. Raises SlurmError, SlurmParseError.

    From 23.11 on a comment may bring lines of its own, which are left out unless they are whole reservations; but only
    an operator writes comments, and he may create what he could forge.
    """
    argv = ("-o", "show", "reservation")
    shown = list(_lines(commands, "ReservationName", *argv))
    found = [record for line in shown if (record := _reservation(line)) is not None]
    if shown and not found:
        raise SlurmParseError("no reservation that we know", ("scontrol", *argv), 0, shown[0])
    return found


def read_slurm_user(commands: Commands) -> int:
    """The uid of SlurmUser. Raises SlurmError, SlurmParseError."""
    return int(_configured(commands, "SlurmUser", r"\S+\((\d+)\)"))


def read_private_data(commands: Commands) -> frozenset[str]:
    """What PrivateData keeps from other users; empty for none. Raises SlurmError, SlurmParseError."""
    words = _configured(commands, "PrivateData", r"(\S+)")
    return frozenset() if words == "none" else frozenset(words.split(","))


def read_preemption(commands: Commands) -> PreemptionRecord:
    """How the cluster preempts. Raises SlurmError, SlurmParseError."""
    shown = _configuration(commands)
    return PreemptionRecord(
        mode=_setting(shown, "PreemptMode", r"(\S+)"),
        exempt_s=limit_s(_setting(shown, "PreemptExemptTime", r"(\S+)")),
        requeue=_setting(shown, "JobRequeue", r"(\d+)") != "0",
    )


def _configured(commands: Commands, name: str, value: str) -> str:
    return _setting(_configuration(commands), name, value)


def _configuration(commands: Commands) -> str:
    return commands.run("scontrol", "show", "config").out


def _setting(shown: str, name: str, value: str) -> str:
    """One line of slurmctld's configuration."""
    match = re.search(rf"^{name}\s*= {value}\s*$", shown, re.MULTILINE)
    if match is None:
        raise SlurmParseError(f"no {name} in slurmctld's configuration", ("scontrol", "show", "config"), 0, shown)
    return match[1]


def read_qos(commands: Commands) -> list[QosRecord]:
    """All QOS; none where the cluster keeps no accounts. Raises SlurmError, SlurmParseError."""
    argv = ("-nP", "show", "qos", "format=Name,Priority,Preempt,PreemptMode,GraceTime,PreemptExemptTime")
    return [
        QosRecord(
            name,
            int(priority or 0),
            _list(preempts),
            "" if mode == "cluster" else mode,
            limit_s(grace) or 0,
            limit_s(exempt),
        )
        for name, priority, preempts, mode, grace, exempt in _accounting(commands, 6, "sacctmgr", *argv)
    ]


def read_privileges(commands: Commands) -> list[PrivilegeRecord]:
    """All users of the accounting database; none where the cluster keeps no accounts.

    Raises SlurmError, SlurmParseError.
    """
    accounts: dict[str, set[str]] = {}
    for user, account in _accounting(commands, 2, "sacctmgr", "-nP", "show", "assoc", "format=User,Account"):
        if user:
            accounts.setdefault(user, set()).add(account)
    argv = ("-nP", "show", "user", "withcoord", "format=User,AdminLevel,Coordinators")
    return sorted(
        (
            PrivilegeRecord(
                user,
                _LEVELS.get(level, AdminLevel.NONE),
                tuple(sorted(set(_list(coordinates)))),
                tuple(sorted(accounts.get(user, ()))),
            )
            for user, level, coordinates in _accounting(commands, 3, "sacctmgr", *argv)
        ),
        key=lambda found: found.user,
    )


def read_fair_shares(commands: Commands) -> dict[tuple[str, str], float]:
    """(account, user) → fair-share factor, 0 to 1; of a user's associations by partition the best.

    Empty where the cluster keeps no accounts. Raises SlurmError, SlurmParseError.
    """
    shares: dict[tuple[str, str], float] = {}
    for account, user, share in _accounting(commands, 3, "sshare", "-a", "-nP", "-o", "Account,User,FairShare"):
        if user and share:
            key = account.strip(), user.strip()  # the account is indented by its depth
            shares[key] = max(float(share), shares.get(key, 0.0))
    return shares


def _accounting(commands: Commands, width: int, program: str, *args: str) -> Iterator[list[str]]:
    done = commands.run(program, *args, check=False)
    if done.status:
        if _NO_ACCOUNTING.search(done.out + done.err):
            return
        raise SlurmError("failed", (program, *args), done.status, done.err or done.out)
    for line in done.out.splitlines():
        parts = line.split("|")
        if len(parts) != width:
            raise SlurmParseError(f"not {width} fields in a line", (program, *args), 0, line)
        yield parts


def _show(commands: Commands, key: str, *args: str) -> Iterator[dict[str, str]]:
    """The records of a `scontrol -o show`, as what follows each `name=`; free text at their ends is left out."""
    for line in _lines(commands, key, *args):
        end = _FREE_TEXT.search(line)
        yield _pairs(line[: end.start()] if end else line)


def _lines(commands: Commands, key: str, *args: str) -> Iterator[str]:
    """The records of a `scontrol -o show` as lines. What free text brings after a newline is left out."""
    text = commands.run("scontrol", *args).out
    found = False
    for line in lines(text):
        if line.startswith(f"{key}="):
            found = True
            yield line
    if not found and not text.startswith("No ") and text.strip():
        raise SlurmParseError(f"no '{key}=' in its answer", ("scontrol", *args), 0, text)


def _pairs(text: str) -> dict[str, str]:
    """`name=value` pairs; of those of one name the first."""
    pairs: dict[str, str] = {}
    for match in _PAIR.finditer(text):
        pairs.setdefault(match[1], match[2])
    return pairs


def _reservation(line: str) -> ReservationRecord | None:
    """A reservation. Its name may hold blanks, and what comes after its state is free text."""
    known, _, _ = line.partition(" BurstBuffer=")
    name = _RESERVATION.match(known)
    if name is None:
        return None
    fields = _pairs(known[name.end() :])
    try:
        return ReservationRecord(
            name=name["name"],
            start=instant(fields["StartTime"]) or 0,
            end=instant(fields["EndTime"]) or 0,
            active=fields["State"] == "ACTIVE",
            users=_list(fields["Users"]),
            accounts=_list(fields["Accounts"]),
            groups=_list(fields["Groups"]),
            licenses=licence_counts(fields["Licenses"]),
            nodes=plain(fields["Nodes"]),
            node_count=int(fields["NodeCnt"]),
            features=plain(fields["Features"]),
            partition=plain(fields["PartitionName"]),
            flags=_list(fields["Flags"]),
        )
    except (KeyError, ValueError):
        return None


def _node(fields: dict[str, str]) -> NodeRecord:
    tracked = count_gpus(fields.get("CfgTRES", ""))
    has, used = ("CfgTRES", "AllocTRES") if tracked is not None else ("Gres", "GresUsed")
    return NodeRecord(
        name=fields["NodeName"],
        up=usable(fields.get("State", "")),
        cpus=int(fields.get("CPUTot", "0")),
        cpus_alloc=int(fields.get("CPUAlloc", "0")),
        gpus=count_gpus(fields.get(has, "")) or 0,
        gpus_alloc=count_gpus(fields.get(used, "")) or 0,
        memory_mb=int(fields.get("RealMemory", "0")),
        features=_list(fields.get("ActiveFeatures", "")),
        partitions=_list(fields.get("Partitions", "")),
        gpu_types=gpu_types(plain(fields.get("Gres", ""))),
        off="POWERED_DOWN" in _STATE_PARTS.split(fields.get("State", "")),
    )


def usable(state: str) -> bool:
    """Whether Slurm would start a job on a node in this state once it is free: `MIXED+PLANNED` yes, `IDLE+DRAIN` no."""
    words = [word for word in _STATE_PARTS.split(state.upper()) if word]
    if not words or "*" in state:  # does not answer
        return False
    return words[0] in _USABLE and _BLOCKED.isdisjoint(words)


def _list(text: str) -> tuple[str, ...]:
    return tuple(word for word in plain(text).split(",") if word)
