"""How long viewers wait when a worker or the RTMP server in use is killed: the clusters of the system tests, with real encoders and real players' playlists."""

import contextlib
import os
import sys
import time

from measuring import ROOT, BenchFailed, line, middle, rounded, say

sys.path.insert(0, os.path.join(ROOT, "tests/system"))
import weir_node

CASES = {
    "failover_worker": "seconds from the kill of a worker to the first segment of another one (no peer)",
    "failover_rtmp_server": "seconds from the kill of the RTMP server in use to the next segment, beside the hole that an SRS edge leaves",
}
TARGETS = ["weir"]

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


def failover_worker(runs):
    from cluster import ClusterCase

    took = []
    with broadcast(ClusterCase) as show:
        for node in show.nodes:
            node.launch()
        for node in show.nodes:
            node.wait_until_ready()
        show.go_live()
        for round_ in range(1, runs + 1):
            took.append(show.fail_over(lambda worker: worker.kill(), lambda worker: worker.start()))
            say(f"failover_worker: kill {round_} of {runs}: {took[-1]:.2f} s")
    yield line("failover_worker", "seconds", "lower", took, None, None, worst=rounded(max(took)), kills=len(took), profile="short", segment_seconds=2, tasks="a ladder of two rungs, three restreams")


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
    runs = settings.runs(usual=10, quick=3)
    for name in names:
        yield from {"failover_worker": failover_worker, "failover_rtmp_server": failover_rtmp_server}[name](runs)
