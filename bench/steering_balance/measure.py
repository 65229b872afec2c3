"""How evenly viewers are spread over edges, and how often one changes: the simulated farm of balancing.md 12, with production's directors, tables and admission."""

import json
import subprocess
import time

from measuring import BenchFailed, line, middle, rounded, say

CASES = {
    "steering_balance": "load of the fullest edge relative to the mean (mean of ten minutes), 10 edges, 20,000 viewers, simulated (no peer)",
    "steering_balance_million": "the same with 200 edges and a million viewers",
}
TARGETS = ["bench_steering_balance"]

FARMS = {"steering_balance": (10, 20_000), "steering_balance_million": (200, 1_000_000)}
MINUTES = 10


def measure(names, settings):
    minutes = 1 if settings.quick else MINUTES
    for name in names:
        edges, viewers = FARMS[name]
        runs = settings.runs(usual=5, quick=2) if name == "steering_balance" else settings.runs(usual=3, quick=1)
        results, took = [], []
        for seed in range(1, runs + 1):
            began = time.monotonic()
            done = subprocess.run([settings.program("bench/bench_steering_balance"), str(edges), str(viewers), str(60 * minutes), str(seed)], capture_output=True, text=True, timeout=1800, check=False)
            if done.returncode != 0:
                raise BenchFailed(f"{name}: status {done.returncode}: {done.stderr}")
            took.append(time.monotonic() - began)
            results.append(json.loads(done.stdout))
            say(f"{name}: seed {seed} of {runs}: {results[-1]}, {took[-1]:.1f} s")
        if any(r["changed"] or r["errors"] for r in results):
            raise BenchFailed(f"{name}: a listed entry changed its address, or named an edge that was ended: {results}")
        yield line(name, "max/mean", "lower", [r["mean"] for r in results], None, None, worst=rounded(max(r["worst"] for r in results)),
                   switches_a_viewer_and_minute=rounded(middle([r["switches_a_minute"] for r in results])), refused=max(r["refused"] for r in results),
                   edges=edges, viewers=viewers, minutes=minutes, target_seconds=4, directors=2, seconds_a_run=rounded(middle(took)))
