"""How long viewers wait when a worker, an origin, an edge or the RTMP server in use is lost, how long a cluster is without a coordinator when its leader is, and whether a machine without
time to spare makes the coordinator lose nodes that live: the clusters of the system tests, with real encoders and real players' playlists."""

import contextlib
import os
import subprocess
import sys
import time
import unittest

from measuring import ROOT, BenchFailed, line, middle, rounded, say

sys.path.insert(0, os.path.join(ROOT, "tests/system"))
import weir_node
from network import Network

CASES = {
    "failover_worker": "seconds from the kill of a worker to the first segment of another one (no peer)",
    "failover_worker_hung": "the same from the moment at which all of the worker's machine hangs (SIGSTOP)",
    "failover_worker_cut": "the same from the moment at which the worker's cable is cut (no peer)",
    "failover_standby": "seconds by which viewers' segments are late at most when the worker in charge of a task with a standby is killed (no peer)",
    "failover_origin_kill": "seconds from the kill of the origin that writes to the next segment in viewers' playlists, from another one (no peer)",
    "failover_origin_hang": "the same from the moment at which all of its machine hangs (SIGSTOP)",
    "failover_edge": "seconds from the kill of an edge's machine to the last entry that playlists of twelve sessions list with its address (no peer)",
    "failover_edge_hang": "the same from the moment at which all of its machine hangs (SIGSTOP)",
    "failover_leader": "seconds from the kill of the coordinator that leads to the first answer of the other one in its place (no peer)",
    "starved_suspicions": "nodes suspected or taken for dead in an hour of a node on a machine with four busy loops a core (no peer)",
    "failover_rtmp_server": "seconds from the kill of the RTMP server in use to the next segment, beside the hole that an SRS edge leaves",
    "failover_rtmp_server_hung": "the same from the moment at which all of the server's machine hangs (SIGSTOP)",
}
TARGETS = ["weir", "hls_watch"]

# Seconds, /work/shared/design/rtmp-servers.md: of an SRS edge whose origin in use is killed by kill -9 (six runs between 3.22 and 3.28), or stopped by SIGSTOP.
SRS_HOLE, SRS_HOLE_HUNG = 3.2, 8.4


@contextlib.contextmanager
def broadcast(case):
    """The cluster of a class of system tests, for the time of the block. Its methods work without a test runner."""
    try:
        case.setUpClass()
        yield case("run")
    except (AssertionError, OSError, unittest.SkipTest) as e: # the last two: this machine lacks what the case needs
        raise BenchFailed(f"{case.__name__}: {e}") from None
    finally:
        case.doClassCleanups()


@contextlib.contextmanager
def live_cluster():
    """Five nodes with a ladder and restreams."""
    from cluster import ClusterCase

    with broadcast(ClusterCase) as show:
        show.begin()
        yield show


@contextlib.contextmanager
def cut_cluster():
    """The same with each worker in a network namespace of its own."""
    from cut import Cut

    with broadcast(Cut) as show:
        yield show


STARVED_FOR = {"usual": 180, "quick": 45} # seconds


def failover_worker(name, runs, cluster, break_it, mend_it, **bounds):
    took = []
    with cluster() as show:
        for round_ in range(1, runs + 1):
            took.append(show.fail_over(break_it, mend_it))
            say(f"{name}: loss {round_} of {runs}: {took[-1]:.2f} s")
    yield line(name, "seconds", "lower", took, None, None, worst=rounded(max(took)), losses=len(took), **bounds, profile="short", segment_seconds=2,
               tasks="a ladder of two rungs, three restreams")


def failover_standby(runs):
    from redundant import TARGET, Redundant

    late, gaps, discontinuities, odd = [], 0, 0, 0
    with broadcast(Redundant) as show, show.standing_by():
        for round_ in range(1, runs + 1):
            follower, since, waited = show.lose_one_of_two(lambda worker: worker.kill(), lambda worker: worker.start())
            show.assert_sound(follower)
            late.append(max(0.0, waited))
            gaps += len(show.holes(follower, since))
            discontinuities += len(show.cuts(follower, since))
            odd += len(show.out_of_step(follower, since)[0])
            say(f"failover_standby: kill {round_} of {runs}: {late[-1]:.2f} s late at most; {gaps} gaps, {discontinuities} discontinuities, {odd} pictures out of step so far")
    yield line("failover_standby", "seconds", "lower", late, None, None, worst=rounded(max(late)), losses=len(late), gaps=gaps, discontinuities=discontinuities, pictures_out_of_step=odd,
               profile="short", segment_seconds=TARGET, looked_every_ms=100)


def failover_origin(name, runs, break_it, mend_it):
    """`mend_it`: after the loss; the origin then keeps copies again."""
    from origins import TARGET, Origins

    first, taken, late, gaps, stalls = [], [], [], 0, 0
    with broadcast(Origins) as show:
        for round_ in range(1, runs + 1):
            owner, began, took = show.lose(break_it)
            seen, since = show.follower.seen, show.follower.newest_at(began)
            first.append(seen[since + 1][1] - began)
            late.append(max(0.0, show.follower.longest_wait(began, TARGET)))
            gaps += sum(1 for m in seen if m > since and seen[m][0].gap)
            taken.append(took)
            mend_it(show, owner)
            show.wait_until_at_rest()
            stalls += len([s for s in show.player.stalls if s[0] > began])
            say(f"{name}: loss {round_} of {runs}: the next segment after {first[-1]:.2f} s, {late[-1]:.2f} s late; another origin had all streams after {took:.2f} s; {gaps} gaps, {stalls} stalls so far")
    yield line(name, "seconds", "lower", first, None, None, worst=rounded(max(first)), losses=len(first), taken_over=rounded(middle(taken)), taken_over_worst=rounded(max(taken)),
               late=rounded(middle(late)), late_worst=rounded(max(late)), gaps=gaps, stalls=stalls, origins=3, profile="short", segment_seconds=TARGET, looked_every_ms=100)


def failover_edge(name, runs, break_it, mend_it):
    from edges import LOSSES, SESSIONS, TARGET, Edges

    named, out, stalls = [], [], []
    while len(out) < runs:
        with broadcast(Edges) as show:
            for _ in range(min(LOSSES, runs - len(out))):
                gone, last, stalled = show.lose_an_edge(break_it, mend_it)
                out.append(gone)
                named.append(last)
                stalls += stalled
                say(f"{name}: loss {len(out)} of {runs}: the last entry that names it after {last:.2f} s, out of the table after {gone:.2f} s; {len(stalls)} viewers stalled so far")
    yield line(name, "seconds", "lower", named, None, None, worst=rounded(max(named)), losses=len(named), out_of_the_table=rounded(middle(out)), out_of_the_table_worst=rounded(max(out)),
               viewers_stalled=len(stalls), edges=3, sessions=SESSIONS, profile="short", segment_seconds=TARGET, looked_every_ms=250)


def failover_leader(runs):
    from election import TAKE_OVER, Election

    took = []
    with broadcast(Election) as show:
        show.go_live()
        for round_ in range(1, runs + 1):
            took.append(show.kill_the_leader())
            say(f"failover_leader: kill {round_} of {runs}: {took[-1]:.2f} s")
    yield line("failover_leader", "seconds", "lower", took, None, None, worst=rounded(max(took)), losses=len(took), bound=TAKE_OVER, coordinators=2, etcd_members=3,
               tasks="a ladder of two rungs, a restream")


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


def failover_rtmp_server(name, runs, break_it, mend_it, peer, spread=False, **bounds):
    """`spread`: the rounds' losses lie at even distances within a segment. What is noticed late is seen only where the segment is nearly whole."""
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
                if spread:
                    since = show.wait_for_the_moment(follower, TARGET * (round_ - 1) / runs)
                break_it(used)
                died = time.monotonic()
                weir_node.eventually("it goes on", lambda: follower.newest() >= since + 4, 12 * TARGET)
                waited = follower.longest_wait(died, TARGET)
            fresh = sorted(at - died for msn, (entry, at) in follower.seen.items() if at > died and not entry.gap)
            show.assert_unbroken(follower, since)
            show.assertEqual(show.pipeline(), pipeline, "the same process")
            weir_node.eventually("the other one is in use", lambda: show.server_in_use() is not used, 15)
            first.append(fresh[0])
            second.append(fresh[1])
            late.append(max(0.0, waited))
            mend_it(used)
            say(f"{name}: loss {round_} of {runs}: the next segment after {first[-1]:.2f} s, the second after {second[-1]:.2f} s, {late[-1]:.2f} s late at most")
    yield line(name, "seconds", "lower", first, [peer], "SRS edge, measured in rtmp-servers.md", worst=rounded(max(first)), losses=len(first), **bounds, second_segment=rounded(middle(second)),
               second_segment_worst=rounded(max(second)), late=rounded(middle(late)), late_worst=rounded(max(late)), profile="short", segment_seconds=TARGET, looked_every_ms=50)


def measure(names, settings):
    weir_node.PROGRAM = settings.program("apps/weir/weir") # before the system tests are imported: they take it over
    weir_node.HLS_WATCH = settings.program("tools/hls_watch/hls_watch") # which watches each loss; its default stands beside the default program
    runs = settings.runs(usual=10, quick=3)
    kill, start = lambda node: node.kill(), lambda node: node.start()
    hang, wake = lambda node: node.pause(True), lambda node: node.pause(False)
    cut, mend = lambda node: Network.plug(node, "down"), lambda node: Network.plug(node, "up")
    cases = {
        "failover_worker": lambda name: failover_worker(name, runs, live_cluster, kill, start),
        "failover_worker_hung": lambda name: failover_worker(name, runs, live_cluster, hang, wake),
        "failover_worker_cut": lambda name: failover_worker(name, runs, cut_cluster, cut, mend, bound=10, wished=6),
        "failover_standby": lambda _: failover_standby(runs),
        "failover_origin_kill": lambda name: failover_origin(name, runs, kill, lambda show, origin: show.start_again(origin)),
        "failover_origin_hang": lambda name: failover_origin(name, runs, hang, lambda _, origin: wake(origin)),
        "failover_edge": lambda name: failover_edge(name, runs, kill, start),
        "failover_edge_hang": lambda name: failover_edge(name, runs, hang, wake),
        "failover_leader": lambda _: failover_leader(runs),
        "starved_suspicions": lambda _: starved_suspicions(STARVED_FOR["quick" if settings.quick else "usual"]),
        "failover_rtmp_server": lambda name: failover_rtmp_server(name, runs, kill, start, SRS_HOLE),
        "failover_rtmp_server_hung": lambda name: failover_rtmp_server(name, runs, hang, wake, SRS_HOLE_HUNG, spread=True, bound=5),
    }
    failures = []
    for name in names: # each has a cluster of its own: one that fails does not cost the others
        try:
            yield from cases[name](name)
        except BenchFailed as e:
            failures.append(f"{name}: {e}" if len(names) > 1 else str(e))
    if failures:
        raise BenchFailed("; ".join(failures))
