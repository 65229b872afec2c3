"""How often edges ask the origin for the same segment."""

import contextlib
import os
import re
import sys
import time

from measuring import ROOT, BenchFailed, line, rounded, say

sys.path.insert(0, os.path.join(ROOT, "tests/system"))
import weir_node

LADDER = {**weir_node.SMALL_LADDER, "name": "single", "rungs": weir_node.SMALL_LADDER["rungs"][:1]}
CASES = {"origin_fetches": "requests of edges to the origin for each edge and segment, beside the viewers' own requests"}
TARGETS = ["weir"]

VIEWERS, TARGET = 40, 2  # TARGET: seconds, of profile `short`


def asked(node):
    """Requests to all edges so far, by what their caches did."""
    counts = {"hit": 0, "miss": 0}
    for cache, count in re.findall(r'^weir_edge_requests_total\{[^}]*cache="(hit|miss)"[^}]*\} (\d+)', weir_node.fetch(node.url + "/metrics").text, re.M):
        counts[cache] += int(count)
    return counts


def measure(names, settings):
    weir_node.PROGRAM = settings.program("apps/weir/weir")
    seconds = 20 if settings.quick else 120
    node = weir_node.Node(log={"level": "warn", "format": "text"}, ladders=[LADDER])
    try:
        node.start()
        stream = node.add_stream("show")
        node.add_task(stream, "hls", {"ladder": LADDER["name"], "profile": "short"})
        with contextlib.ExitStack() as stack:
            stack.enter_context(weir_node.Encoder(node, "show", stream.key))
            viewer = weir_node.wait_until_playable(node, "show", 60)
            weir_node.wait_for_the_hold_back(viewer, TARGET)
            before = asked(node)
            say(f"origin_fetches: {VIEWERS} viewers for {seconds} s")
            players = [stack.enter_context(weir_node.Player(weir_node.Viewer(node, "show"), TARGET)) for _ in range(VIEWERS)]
            time.sleep(seconds) # the time for which is measured
            fetched = [entry for player in players for _, entry in list(player.got.values())]
            failures = sum(len(player.failures) for player in players)
            newest, after = viewer.playlist().media[-1].msn, asked(node)
        node.stop()
    finally:
        node.remove()
    edges = len({entry.uri.split("/s/")[0] for entry in fetched})
    if not fetched or failures:
        raise BenchFailed(f"{len(fetched)} segments came, {failures} requests failed")
    # Observers fetch what players do not have yet.
    pairs = edges * (newest - min(entry.msn for entry in fetched) + 1)
    hits, misses = (after[cache] - before[cache] for cache in ("hit", "miss"))
    yield line("origin_fetches", "requests", "lower", [misses / pairs], [len(fetched) / pairs], "what viewers ask for", pairs=pairs, viewers=VIEWERS,
               edges=edges, hit_ratio=rounded(hits / (hits + misses)), seconds=seconds)
