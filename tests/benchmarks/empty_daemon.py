"""Answers the hook at once and decides nothing: `python -m tests.benchmarks.empty_daemon SOCKET`.

What submissions cost with it they cost at least with any daemon behind this hook on this machine.
"""

import asyncio
import sys
from pathlib import Path

from slurm_power.adapters.lines import HookKey, encode_reply
from slurm_power.adapters.lines_server import LineServer


async def serve(socket: Path) -> None:
    """Until told to end."""
    server = LineServer(socket, 0o600, lambda peer, request: answer, lasting=True)
    server.bind()
    answer = encode_reply(HookKey.create(socket).value, "pass")
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
