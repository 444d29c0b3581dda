"""The daemon's replies on the control socket, whole."""

from collections.abc import Mapping

from slurm_power.adapters.lines import result_pieces


def encode_result(result: Mapping[str, object]) -> str:
    """The reply to a command that succeeded, which the daemon makes piece by piece."""
    return "".join(result_pieces(result))
