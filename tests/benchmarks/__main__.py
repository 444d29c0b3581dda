"""Run benchmarks: `python -m tests.benchmarks core packing --json FILE [--quick]`.

Each module of this package with a function `run(quick: bool) -> dict` is one; without names the list is printed.
"""

import argparse
import importlib
import importlib.util
import json
import os
import pkgutil
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import tests.benchmarks


def machine() -> dict[str, object]:
    """What the figures were taken on, and how busy it was with other things."""
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line.partition(":") for line in cpuinfo.read_text().splitlines()]
        model = next((value.strip() for key, _, value in lines if key.strip() == "model name"), "")
    return {
        "cpu": model or platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "load_average": round(os.getloadavg()[0], 2),
        "million_additions_ms": round(median(_additions_ms() for _ in range(9)), 1),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _additions_ms() -> float:
    """How fast Python is here and now: a virtual machine may have half of yesterday's speed."""
    began, total = time.perf_counter(), 0
    for number in range(1_000_000):
        total += number
    return (time.perf_counter() - began) * 1_000


def _cpu_ticks() -> tuple[int, int]:
    """(those of all processors so far, those of them that the host gave to other machines)."""
    stat = Path("/proc/stat")
    ticks = [int(word) for word in stat.read_text().split("\n", 1)[0].split()[1:9]] if stat.exists() else [0] * 8
    return sum(ticks), ticks[7]


def names() -> list[str]:
    """The benchmarks that there are."""
    found = []
    for module in pkgutil.iter_modules(tests.benchmarks.__path__):
        spec = importlib.util.find_spec(f"tests.benchmarks.{module.name}")
        source = Path(spec.origin).read_text() if spec is not None and spec.origin else ""
        if "\ndef run(quick: bool)" in source:
            found.append(module.name)
    return sorted(found)


def main(argv: list[str]) -> int:
    """Run the named benchmarks one after another; print what they found, and write it if a file is given."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", choices=[*names(), []], help=", ".join(names()))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that it runs")
    options = parser.parse_args(argv)
    if not options.name:
        parser.print_usage()
        return 2
    figures: dict[str, object] = {"machine": machine(), "quick": options.quick}
    stolen: dict[str, float] = {}
    figures["stolen_by_the_host_percent"] = stolen
    for name in options.name:
        before = _cpu_ticks()
        figures[name] = importlib.import_module(f"tests.benchmarks.{name}").run(options.quick)
        total, taken = (after - was for after, was in zip(_cpu_ticks(), before, strict=True))
        stolen[name] = round(100 * taken / max(total, 1), 1)
        print(json.dumps({name: figures[name]}, indent=2), flush=True)
        if options.json is not None:  # at once: the next one may take long, or fail
            options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
