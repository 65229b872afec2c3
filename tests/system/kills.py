"""kill -9 of each part while viewers watch, and a clean end: issue 2, items 6, 8, 9 and 12. Sequence numbers never go back."""

import os
import re
import signal
import sys
import time

from weir_node import Encoder, NodeCase, Process, Viewer, eventually, fetch, main, processes, wait_until_playable, watched

TARGET = 4     # seconds: the profile quick
SANITIZED = 2  # seconds more, for the start of a sanitized program


class Kills(NodeCase):
    SECTIONS = {"origin": {"profile": "quick"}, "coordinator": {"publish_grace": "12s"}}

    def assert_unbroken(self, follower):
        self.assertEqual(follower.breaches, [])
        numbers = sorted(follower.seen)
        self.assertEqual(numbers, list(range(numbers[0], numbers[-1] + 1)), "no number is left out")

    def test_1_transcoder(self):
        """New segments within two target durations, one discontinuity, everything listed stays as it was."""
        node = self.node
        self.__class__.stream = stream = node.add_stream("show")
        self.__class__.task = task = node.add_hls(stream, "quick")
        self.__class__.encoder = Encoder(node, "show", stream.key, insists=True)
        self.addClassCleanup(self.encoder.stop)
        wait_until_playable(node, "show", 60)
        with watched(node, "show", TARGET) as (follower, _):
            first = follower.newest()
            eventually("it runs steadily", lambda: follower.newest() >= first + 2, 5 * TARGET)
            pid = node.pid_of_task(task)
            begun = node.task(task)
            before = follower.newest()
            known = follower.discontinuities()
            os.kill(pid, signal.SIGKILL)
            died = time.monotonic()
            fresh = eventually("another process", lambda: (p := node.pid_of_task(task)) not in (0, pid) and p, 20)
            # What the dead one had delivered may still be listed: the first segment behind the discontinuity is the new one's.
            behind = lambda: [m for m in follower.discontinuities() if m > before and not follower.seen[m][0].gap]
            eventually("a segment of the new process", behind, 6 * TARGET)
            took = follower.seen[behind()[0]][1] - died
            eventually("more segments", lambda: follower.newest() >= behind()[0] + 2, 6 * TARGET)
        print(f"transcoder killed: first new segment listed after {took:.1f} s", file=sys.stderr)
        self.assertLess(took, 2 * TARGET + SANITIZED)
        self.assertEqual(len(follower.discontinuities()) - len(known), 1)
        self.assert_unbroken(follower)
        self.assertEqual(follower.failures, [])
        shown = node.task(task)
        self.assertEqual((shown["phase"], shown["attempts"], shown["last_cause"], shown["epoch"]), ("running", begun["attempts"] + 1, "crashed", begun["epoch"]))
        self.assertEqual(node.pid_of_task(task), fresh)
        pipelines = processes(lambda p: p.session in node.sessions and "weir-pipeline" in p.command)
        self.assertEqual([p.pid for p in pipelines], [fresh], "one process for one task")

    def test_2_edge(self):
        """The dead nginx is back at its address before a player's patience ends; lists go on as if nothing had happened."""
        node = self.node
        viewer = wait_until_playable(node, "show", 20)
        edge = viewer.playlist().media[-1].uri.split("/s/")[0]
        number = node.edges.index(edge) + 1
        master = node.nginx_master(f"edge-{number}")
        workers = processes(lambda p: p.parent == master)
        self.assertTrue(workers)
        with watched(node, "show", TARGET, viewer=viewer, without=("transport",)) as (follower, _):  # the linter asks no other edge
            begun = follower.newest()
            os.kill(master, signal.SIGKILL)
            died = time.monotonic()
            eventually("another master", lambda: node.nginx_master(f"edge-{number}") != master, 20, every=0.02)
            eventually("the edge answers", lambda: fetch(edge + "/", timeout=1).status == 404, 20, every=0.02)
            took = time.monotonic() - died
            eventually("three more segments", lambda: follower.newest() >= begun + 3, 6 * TARGET)
            for entry in follower.media_since(died):
                self.assertEqual(fetch(entry.uri).status, 200)
        print(f"edge killed: serves again after {took:.2f} s", file=sys.stderr)
        self.assertLess(took, 1.0 + SANITIZED)
        self.assertEqual([w for w in workers if os.path.exists(f"/proc/{w.pid}") and Process(w.pid).state != "Z"], [], "no worker outlives its master")
        self.assert_unbroken(follower)
        self.assertEqual(follower.failures, [])
        self.assertEqual([m for m in follower.discontinuities() if m > begun], [])
        times = [follower.seen[m][1] for m in sorted(follower.seen) if m > begun]
        self.assertLess(max(b - a for a, b in zip(times, times[1:])), 1.5 * TARGET, "no hole in the news")
        restarted = [e for e in node.items("/api/v1/edges") if e["url"] == edge][0]
        eventually("the restart is counted", lambda: [e for e in node.items("/api/v1/edges") if e["url"] == edge][0]["restarts"] >= 1, 5)
        self.assertEqual(restarted["name"], f"lab-{number}")

    def test_3_node(self):
        """Nothing outlives the node; started again, the same broadcast goes on with higher numbers at unchanged addresses."""
        node = self.node
        with watched(node, "show", TARGET, without=("transport", "P6")) as (follower, _):  # everything is away
            node.kill()
            died = time.monotonic()
            node.wait_until_nothing_is_left(5)
            newest = follower.newest()
            node.start()
            ready = time.monotonic()
            eventually("a new segment for the old viewer", lambda: any(e.msn > newest for e in follower.media_since(ready)), 40)
            took = time.monotonic() - died
            eventually("more segments", lambda: follower.newest() >= newest + 4, 6 * TARGET)
        print(f"node killed: ready after {ready - died:.1f} s, first new segment after {took:.1f} s", file=sys.stderr)
        self.assert_unbroken(follower)
        self.assertFalse(follower.ended)
        self.assertEqual([e for e in follower.failures if e[0] > ready + 1], [])
        with self.subTest("who comes now sees the same"):
            again = Viewer(node, "show").playlist()
            ours = {m: entry.uri.split("/s/")[1] for m, (entry, _) in follower.seen.items() if not entry.gap}
            theirs = {e.msn: e.uri.split("/s/")[1] for e in again.media}
            self.assertEqual({m: u for m, u in theirs.items() if m in ours}, {m: ours[m] for m in theirs if m in ours})
            for entry in again.media:
                self.assertEqual(fetch(entry.uri).status, 200)
        self.assertEqual(len(node.get("/api/v1/streams")["items"]), 1)
        self.assertEqual(self.stream.key, node.get(f"/api/v1/streams/{self.stream.id}/key")["key"])

    def test_4_clean_end(self):
        """SIGTERM while it streams: all ends within 10 s, no process, no half-written file, a store that opens."""
        node = self.node
        wait_until_playable(node, "show", 20)
        newest = Viewer(node, "show").playlist().entries[-1].msn
        took = node.stop()
        print(f"SIGTERM: ended after {took:.1f} s", file=sys.stderr)
        files = [os.path.relpath(os.path.join(folder, name), node.data) for folder, _, names in os.walk(os.path.join(node.data, "origin")) for name in names]
        self.assertTrue(files)
        self.assertEqual([f for f in files if not re.fullmatch(r"origin/(\.claim|\.claim\.lock|show/(log\.json|\d+/\d+/[a-z0-9]+/\d+\.ts))", f)], [])
        self.assertEqual([f for f in files if f.endswith(".ts") and os.path.getsize(os.path.join(node.data, f)) % 188], [])
        self.encoder.stop()
        node.start()
        self.assertEqual([s["name"] for s in node.items("/api/v1/streams")], ["show"])
        self.assertEqual([t["id"] for t in node.items("/api/v1/tasks")], [self.task])
        playlist = eventually("the list is there", lambda: Viewer(node, "show").playlist(), 10)
        self.assertGreaterEqual(playlist.entries[-1].msn, newest)
        self.assertLessEqual(node.stop(), 10)


if __name__ == "__main__":
    main()
