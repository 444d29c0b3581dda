"""What a review found: words of users that must neither stop a round nor keep the hook waiting."""

import pytest

from slurm_power.core.errors import SlurmParseError
from slurm_power.service.world import expand, nodes_of


@pytest.mark.parametrize(
    "hostlist",
    [
        "@slurm:x",  # ClusterShell would run its configuration's command with x in it
        "@*",
        "n[1-2-3000000000]",
        "n[1-" + "9" * 40 + "]",
        "n[" + ",".join(map(str, range(1_000))) + "]m[" + ",".join(map(str, range(1_000))) + "]",
        "n[1-2",
        "n[2-1]",
        "n[1-9/0]",
        "n[]",
        "n[a-b]",
        "," * 10_000,
        "a," * 5_000 + "]",
    ],
)
def test_what_a_user_writes_for_a_hostlist_never_raises_and_names_nothing(hostlist: str) -> None:
    assert expand(hostlist) == ()


def test_hostlists_are_read_as_slurm_writes_them() -> None:
    assert expand("gpu[001-003,07]x[1-2],b") == (
        "gpu001x1", "gpu001x2", "gpu002x1", "gpu002x2", "gpu003x1", "gpu003x2", "gpu07x1", "gpu07x2", "b",
    )
    assert expand("n[0-10/5]") == ("n0", "n5", "n10")
    many = "n[" + ",".join(f"{10 * i}-{10 * i + 3}" for i in range(20)) + "]"
    assert len(expand(many)) == 80  # the ranges of one bracket add up, they do not multiply
    assert len(nodes_of(",".join(f"r{i * 7 % 997}n{i * 13 % 877}" for i in range(2_000)))) == 2_000


def test_a_hostlist_of_slurms_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(SlurmParseError):
        nodes_of("n[1-")
