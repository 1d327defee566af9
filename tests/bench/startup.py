"""How long a user waits for the command line to begin."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.table import Row, show

SAMPLE = Path(__file__).resolve().parents[2] / "kustomize" / "samples" / "instance.yaml"
RUNS = 9
COMMANDS = {
    "python -c pass": (["-c", "pass"], 0),
    "import redisop.cli": (["-c", "import redisop.cli"], 0),
    "redisop --help": (["-m", "redisop", "--help"], 0),
    "redisop plan -f FILE --offline": (["-m", "redisop", "plan", "-f", str(SAMPLE), "--offline"], 1),
}


def measure() -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    # In turns, so that a slow moment of the machine hits all of them.
    for run in range(RUNS + 1):
        for name, (arguments, expected) in COMMANDS.items():
            began = time.perf_counter()
            done = subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=False)
            if done.returncode != expected:
                raise SystemExit(f"{name} exited with {done.returncode}, not {expected}")
            if run:
                seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    bare = medians.pop("python -c pass")
    rows = [
        Row(name, value, "s", bare, "bare Python", "≤ 0.6 s" if "plan" in name else "")
        for name, value in medians.items()
    ]
    show(f"Start-up, median of {RUNS} runs", rows)
