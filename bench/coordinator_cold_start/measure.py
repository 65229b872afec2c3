"""How long the coordinator of a large cluster needs from its start until it has everything in hand, and what the cluster costs it at rest."""

import json
import os
import subprocess
import tempfile

from measuring import BenchFailed, line, middle, rounded, say

CASES = {
    "coordinator_cold_start": "seconds from the start of a coordinator to full control of 1,000 streams, 5,000 tasks, 200 nodes, beside a plain read of the same records",
    "control_messages": "cores that the coordinator uses at rest while 200 nodes beat (no peer)",
}
TARGETS = ["bench_coordinator_cold_start"]

NODES, STREAMS, TASKS = 200, 1000, 5000


def measure(names, settings):
    runs = settings.runs(usual=10, quick=3) if "coordinator_cold_start" in names else 1 # the rest follows the last round, whatever their number
    rest = 0 if "control_messages" not in names else 5 if settings.quick else 20
    rounds, rests = [], []
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as folder:
        say(f"coordinator_cold_start: {runs} rounds after a warm-up" + (f", then twice {rest} s of rest" if rest else ""))
        command = [settings.program("bench/bench_coordinator_cold_start"), os.path.join(folder, "stores"), *map(str, (NODES, STREAMS, TASKS, runs, rest))]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise BenchFailed(f"status {done.returncode}: {done.stderr[-2000:]}")
        for text in done.stdout.splitlines():
            shown = json.loads(text)
            (rests if "rest" in shown else rounds).append(shown)
    rounds = rounds[1:]  # the first one is the warm-up
    if len(rounds) != runs:
        raise BenchFailed(f"{len(rounds)} rounds of {runs}: {done.stdout}")
    if "coordinator_cold_start" in names:
        ours = [r["control"] for r in rounds]
        yield line("coordinator_cold_start", "seconds", "lower", ours, [r["read"] for r in rounds], "open and plain read of the same RocksDB records",
                   worst=rounded(max(ours)), of_it_open=rounded(middle([r["open"] for r in rounds])), go_live=rounded(rounds[0]["go_live"]), records=rounds[0]["records"], record_bytes=rounds[0]["bytes"],
                   nodes=NODES, streams=STREAMS, tasks=TASKS)
    if "control_messages" in names:
        quiet, busy = rests
        share = [quiet["coordinator_cpu"] / quiet["rest"]]
        yield line("control_messages", "cores", "lower", share, None, None, seconds=quiet["rest"], messages_a_second=round(quiet["beats"] / quiet["rest"]),
                   beat_bytes=quiet["beat_bytes"], beat_leases=quiet["beat_leases"], with_reports={
                       "cores": rounded(busy["coordinator_cpu"] / busy["rest"]), "all_threads": rounded(busy["all_cpu"] / busy["rest"]),
                       "messages_a_second": round((busy["beats"] + busy["reports"]) / busy["rest"])}, nodes=NODES, tasks=TASKS)
