"""How long viewers wait when a worker or the RTMP server in use is lost, and whether a machine without time to spare makes the coordinator lose nodes that live: the
clusters of the system tests, with real encoders and real players' playlists."""

import contextlib
import os
import subprocess
import sys
import time

from measuring import ROOT, BenchFailed, line, middle, rounded, say

sys.path.insert(0, os.path.join(ROOT, "tests/system"))
import weir_node

CASES = {
    "failover_worker": "seconds from the kill of a worker to the first segment of another one (no peer)",
    "failover_worker_hung": "the same from the moment at which all of the worker's machine hangs (SIGSTOP)",
    "starved_suspicions": "nodes suspected or taken for dead in an hour of a node on a machine with four busy loops a core (no peer)",
    "failover_rtmp_server": "seconds from the kill of the RTMP server in use to the next segment, beside the hole that an SRS edge leaves",
}
TARGETS = ["weir", "hls_watch"]

SRS_HOLE = 3.2 # seconds, /work/shared/design/rtmp-servers.md: kill -9 of the origin in use, six runs between 3.22 and 3.28


@contextlib.contextmanager
def broadcast(case):
    """The cluster of a class of system tests, for the time of the block. Its methods work without a test runner."""
    try:
        case.setUpClass()
        yield case("run")
    except AssertionError as e:
        raise BenchFailed(f"{case.__name__}: {e}") from None
    finally:
        case.doClassCleanups()


@contextlib.contextmanager
def live_cluster():
    """Five nodes with a ladder and restreams."""
    from cluster import ClusterCase

    with broadcast(ClusterCase) as show:
        for node in show.nodes:
            node.launch()
        for node in show.nodes:
            node.wait_until_ready()
        show.go_live()
        yield show


STARVED_FOR = {"usual": 180, "quick": 45} # seconds


def failover_worker(name, runs, break_it, mend_it):
    took = []
    with live_cluster() as show:
        for round_ in range(1, runs + 1):
            took.append(show.fail_over(break_it, mend_it))
            say(f"{name}: loss {round_} of {runs}: {took[-1]:.2f} s")
    yield line(name, "seconds", "lower", took, None, None, worst=rounded(max(took)), losses=len(took), profile="short", segment_seconds=2, tasks="a ladder of two rungs, three restreams")


def starved_suspicions(seconds):
    with live_cluster() as show:
        show.wait_until_all_run(60)
        time.sleep(35) # part of the case: the coordinator learns the rhythm of each node while the machine has time
        kinds = ("node-suspect", "node-down", "node-unreachable", "node-joined")
        before = {kind: len(show.boss.events(kind)) for kind in kinds}
        loops = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(4 * os.cpu_count())]
        try:
            time.sleep(seconds) # the time of the measurement itself
            with open("/proc/loadavg", encoding="ascii") as f:
                load = float(f.read().split()[0])
        finally:
            for one in loops:
                one.kill()
                one.wait()
        seen = {kind: len(show.boss.events(kind)) - before[kind] for kind in kinds}
    hours = seconds * len(show.nodes) / 3600
    say(f"starved_suspicions: {seen} in {seconds} s")
    yield line("starved_suspicions", "a node and hour", "lower", [(seen["node-suspect"] + seen["node-unreachable"]) / hours], None, None, taken_for_dead=rounded(seen["node-down"] / hours),
               joined_again=seen["node-joined"], seconds=seconds, nodes=len(show.nodes), busy_loops=len(loops), load=load, tasks="a ladder of two rungs, three restreams, all on that machine")


def failover_rtmp_server(runs):
    from redundant import TARGET, Redundant

    first, second, late = [], [], []
    with broadcast(Redundant) as show:
        for round_ in range(1, runs + 1):
            weir_node.eventually("both servers have it", lambda: show.publishers() == ["left", "right"], 40)
            viewer = weir_node.wait_until_playable(show.media, "show", 20)
            with weir_node.Follower(viewer, every=0.05) as follower:
                weir_node.eventually("the first list", lambda: follower.seen, 5)
                newest = follower.newest()
                weir_node.eventually("the copy that is not in use is known for some seconds", lambda: follower.newest() >= newest + 2, 6 * TARGET)
                used, pipeline, since = show.server_in_use(), show.pipeline(), follower.newest()
                used.kill()
                died = time.monotonic()
                weir_node.eventually("it goes on", lambda: follower.newest() >= since + 4, 12 * TARGET)
                waited = show.longest_wait(follower, died)
            fresh = sorted(at - died for msn, (entry, at) in follower.seen.items() if at > died and not entry.gap)
            show.assert_unbroken(follower, since)
            show.assertEqual(show.pipeline(), pipeline, "the same process")
            first.append(fresh[0])
            second.append(fresh[1])
            late.append(max(0.0, waited))
            used.start()
            say(f"failover_rtmp_server: kill {round_} of {runs}: the next segment after {first[-1]:.2f} s, the second after {second[-1]:.2f} s, {late[-1]:.2f} s late at most")
    yield line("failover_rtmp_server", "seconds", "lower", first, [SRS_HOLE], "SRS edge, measured in rtmp-servers.md", worst=rounded(max(first)), kills=len(first), second_segment=rounded(middle(second)),
               second_segment_worst=rounded(max(second)), late=rounded(middle(late)), late_worst=rounded(max(late)), profile="short", segment_seconds=TARGET, looked_every_ms=50)


def measure(names, settings):
    weir_node.PROGRAM = settings.program("apps/weir/weir") # before the system tests are imported: they take it over
    weir_node.HLS_WATCH = settings.program("tools/hls_watch/hls_watch") # which watches each loss; its default stands beside the default program
    runs = settings.runs(usual=10, quick=3)
    for name in names:
        yield from {
            "failover_worker": lambda: failover_worker("failover_worker", runs, lambda worker: worker.kill(), lambda worker: worker.start()),
            "failover_worker_hung": lambda: failover_worker("failover_worker_hung", runs, lambda worker: worker.pause(True), lambda worker: worker.pause(False)),
            "starved_suspicions": lambda: starved_suspicions(STARVED_FOR["quick" if settings.quick else "usual"]),
            "failover_rtmp_server": lambda: failover_rtmp_server(runs),
        }[name]()
