"""Accounts, QOS and users in the accounting database, with preemption between the QOS."""

import os
from collections.abc import Mapping, Sequence

from slurm_power.config import Site
from slurm_power.core.policy import Policy
from slurm_power.render import sacctmgr_commands
from slurm_power.sandbox.state import User
from slurm_power.sandbox.tools import Tools, run

ACCOUNTS = ("research", "ops")


def qos_by_promise(policy: Policy) -> tuple[str, ...]:
    """The QOS of the site's tiers, the highest promise first; one that serves two tiers once."""
    tiers = sorted(policy.tiers.values(), key=lambda tier: tier.rank)
    return tuple(dict.fromkeys(tier.qos for tier in tiers))


def users_of(names: Sequence[str], policy: Policy) -> tuple[User, ...]:
    """Who may use what: the first user every tier, the next all but the highest, and so on; at least the lowest.

    By default a user's jobs run as the site's default tier, or as the lowest where that is not the user's to use.
    """
    qos = qos_by_promise(policy)
    default = policy.tiers[policy.default_tier].qos if policy.default_tier in policy.tiers else ""
    users = []
    for index, name in enumerate(names):
        own = qos[min(index, len(qos) - 1) :]
        account = ACCOUNTS[1] if index % 3 == 2 else ACCOUNTS[0]
        users.append(User(name, account, own, default if default in own else own[-1]))
    return tuple(users)


def set_up(tools: Tools, env: Mapping[str, str], cluster: str, site: Site, users: Sequence[User]) -> None:
    """Fill the accounting database. Raises SandboxError if sacctmgr refuses something."""
    commands = [
        ("-i", "add", "cluster", cluster),
        *(arguments for _program, *arguments in sacctmgr_commands(site)),
        *(("-i", "add", "account", name, f"description={name}", f"organization={name}") for name in ACCOUNTS),
        *(_add_user(user) for user in users),
    ]
    for arguments in commands:
        run(tools.argv("sacctmgr", *arguments), env)
    if os.geteuid() == 0:
        _let_root(tools, env, qos_by_promise(site.policy))


def _add_user(user: User) -> tuple[str, ...]:
    allowed = (f"qos={','.join(user.qos)}", f"defaultqos={user.default_qos}")
    return ("-i", "add", "user", user.name, f"account={user.account}", *allowed)


def _let_root(tools: Tools, env: Mapping[str, str], qos: Sequence[str]) -> None:
    """Root, who is there from the beginning, may use every tier too."""
    allowed = (f"qos={','.join(qos)}", f"defaultqos={qos[-1]}")
    run(tools.argv("sacctmgr", "-i", "modify", "user", "where", "name=root", "set", *allowed), env)
