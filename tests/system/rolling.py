"""A rolling restart of every node of a cluster that plays, as for an upgrade: drained, ended, started again with its folder, opened again.

    boss    coordinator      media   origin, director, edge      cache   edge      left, right   ingest, one copy of the broadcast each      w1, w2   workers

All tests go through one broadcast in order, and one viewer watches all of it: a player with a buffer, who keeps every picture that it got.
"""

import concurrent.futures
import os
import sys
import tempfile
import time

from cluster import ClusterCase, Member, weir
from redundant import FPS, TARGET, pictures
from weir_node import Follower, Player, TwoWayEncoder, eventually, free_ports, main, start_together, wait_until_playable, watch


class Rolling(ClusterCase):
    @classmethod
    def setUpClass(cls):
        cls.authority = tempfile.TemporaryDirectory(prefix="weir-ca-")
        cls.addClassCleanup(cls.authority.cleanup)
        folder = Member.authority = os.path.join(cls.authority.name, "ca")
        names = ["boss", "media", "cache", "left", "right", "w1", "w2"]
        weir("cluster", "init-ca", "--dir", folder, "--name", "hall")
        weir("cluster", "issue", "--dir", folder, *names)
        door = f"127.0.0.1:{free_ports(1)}"
        cls.boss = Member("boss", ["coordinator"], door, listens=True, coordinator={"publish_grace": "8s"})
        cls.media = Member("media", ["origin", "director", "edge"], door, edge={"instances": 1})
        cls.cache = Member("cache", ["edge"], door, edge={"instances": 1, "origins": [cls.media.url]})
        cls.left, cls.right = (Member(name, ["ingest"], door, hooks={"without_coordinator": "known_keys"}) for name in ("left", "right"))
        cls.w1, cls.w2 = (Member(name, ["worker"], door, worker={"cores": 4}) for name in ("w1", "w2"))
        cls.nodes = [cls.boss, cls.media, cls.cache, cls.left, cls.right, cls.w1, cls.w2]
        for node in cls.nodes:
            cls.addClassCleanup(node.remove)
        start_together(cls.nodes)
        cls.show = cls.boss.add_stream("show")
        cls.hls = cls.boss.add_hls(cls.show)
        cls.pushes = []
        cls.camera = TwoWayEncoder([cls.left, cls.right], "show", cls.show.key)
        cls.addClassCleanup(cls.camera.stop)
        viewer = wait_until_playable(cls.media, "show", 60)
        eventually("enough is listed for the hold-back", lambda: len(viewer.playlist().media) > 6, 10 * TARGET)
        cls.pool = concurrent.futures.ThreadPoolExecutor(2, "watch")
        cls.addClassCleanup(cls.pool.shutdown)

        def of_the_cache():
            drawn = wait_until_playable(cls.media, "show", 20)
            return drawn if drawn.playlist().media[-1].uri.startswith(cls.cache.edges[0]) else None

        cls.player = Player(eventually("a viewer is sent to the edge that is first", of_the_cache, 20), TARGET)
        cls.follower = Follower(viewer, every=0.1)
        for one in (cls.player, cls.follower):
            cls.addClassCleanup(one.stop)
            one.start()

    # what an operator does

    def command(self, *words):
        weir(*words, "--server", self.boss.url, "--token", self.boss.token)

    def edges(self):
        return {e["name"]: e for e in self.boss.items("/api/v1/edges")}

    def wait_until_at_rest(self):
        def at_rest():
            phases = self.phases()
            assert phases == {n.name: "ready" for n in self.nodes}, phases
            edges = {name: e["phase"] for name, e in self.edges().items()}
            assert edges == {"media-1": "serving", "cache-1": "serving"}, edges
            task = self.boss.task(self.hls)
            assert task["phase"] == "running", (task["phase"], task["reason"])
            publishers = sorted(p["server"] for p in self.show.status()["publishers"])
            assert publishers == ["left", "right"], publishers
            pipelines = self.w1.pipelines() + self.w2.pipelines()
            assert len(pipelines) == 1, pipelines
            return True

        eventually("the cluster is at rest", at_rest, 40)

    def roll(self, node, seconds, without=()):
        """Restarts a node as the book says and judges what viewers had of it. `seconds`: of a linter that joins before; `without`: what it may say."""
        self.wait_until_at_rest()
        player, follower = self.player, self.follower
        began, since = time.monotonic(), max(player.newest(), follower.newest())
        linter = self.pool.submit(watch, self.media, "show", seconds)
        eventually("it plays", lambda: player.newest() >= since + 1, 10 * TARGET)
        if node is not self.boss:
            self.command("node", "drain", node.name, "--deadline", "60s")  # until its runs and the viewers of its edges are elsewhere
            self.assertEqual(node.pipelines(), [], "nothing of it runs there")
        self.assertNotEqual(self.boss.task(self.hls)["node"], node.name)
        drained, ended = time.monotonic() - began, time.monotonic()
        node.stop()
        if node is not self.boss:
            eventually("it has left", lambda: self.phases()[node.name] == "left", 5)
        said = len(node.log())
        node.launch()
        if node is not self.boss:
            eventually("it has joined", lambda: "joined node=" in node.log()[said:], 40)
            self.command("node", "undrain", node.name)  # a drained node is not ready
        node.wait_until_ready()
        ready = time.monotonic() - ended
        report = linter.result()
        newest = max(player.newest(), follower.newest())
        with self.subTest("it goes on"):
            eventually("it plays on", lambda: player.newest() >= newest + 3, 12 * TARGET)
        failures = [(round(at - ended, 2), what, url, why) for at, what, url, why in player.failures if at > began]
        lists = [at - ended for at, _ in follower.failures if at > began]
        levels = [left for at, left in player.levels if at > began]
        at = sorted(t for _, t in follower.seen.values() if t > began - TARGET)
        late = max((b - a for a, b in zip(at, at[1:])), default=time.monotonic() - began) - TARGET
        away = f"{lists[0]:.2f} to {lists[-1]:.2f} s" if lists else "never"
        sys.stderr.write(f"{node.name}: drained in {drained:.1f} s, ready {ready:.1f} s after SIGTERM; playlists away {away}, a segment at most {late:.2f} s late, "
                         f"lowest buffer {min(levels, default=0):.1f} s, {len(failures)} requests failed\n")
        with self.subTest("no stall"):
            self.assertEqual([s for s in player.stalls if s[0] > began], [])
            self.assertGreater(player.level(), 0)
        with self.subTest("no hole, no cut"):
            self.assertEqual([m for m in follower.seen if m > since and follower.seen[m][0].gap], [], "gaps")
            self.assertEqual([m for m in follower.discontinuities() if m > since], [], "discontinuities")
            self.assert_unbroken(follower)
        with self.subTest("the linter has nothing to say"):
            self.assertEqual([f for f in report["findings"] if f["rule"] not in without], [])
        if not without:
            with self.subTest("no request fails"):
                self.assertEqual((failures, lists), ([], []))
        with self.subTest("every picture once"):
            shown = [p for m in sorted(player.got) if m >= since for p in pictures(player.path(m))]
            step = 90_000 // FPS
            self.assertEqual([(at, b - a) for at, (a, b) in enumerate(zip(shown, shown[1:])) if abs(b - a - step) > 180], [], f"pictures follow each other by {step} ticks")
        return lists

    # The order of the book, but for the one that has no other to stand in for it: what becomes of that would be charged to whoever comes behind.

    def test_1_an_edge(self):
        used = lambda: self.player.got[self.player.newest()][1].uri.split("/s/")[0]
        eventually("the player has something of it", lambda: self.player.got and used() == self.cache.edges[0], 10)
        began = time.monotonic()
        self.roll(self.cache, 26)
        # By and by viewers come back to it: how soon this one does is the draw of its bucket.
        self.assertIn(self.media.edges[0], {entry.uri.split("/s/")[0] for at, entry in self.player.got.values() if at > began}, "it was sent elsewhere meanwhile")

    def test_2_the_workers(self):
        first = {"w1": self.w1, "w2": self.w2}[self.boss.task(self.hls)["node"]]
        for node in (first, self.w2 if first is self.w1 else self.w1):
            self.roll(node, 16)

    def test_3_the_rtmp_servers(self):
        """The one in use and the other one; its encoder is on both."""
        for node in (self.left, self.right):
            self.roll(node, 10)

    def test_4_the_coordinator(self):
        """It has nothing to hand over: what runs goes on without it."""
        before = self.boss.task(self.hls)
        pids = sorted(self.w1.pipelines() + self.w2.pipelines())
        self.roll(self.boss, 10)
        self.assertEqual(sorted(self.w1.pipelines() + self.w2.pipelines()), pids, "the same process")
        after = self.boss.task(self.hls)
        self.assertEqual((after["node"], after["epoch"]), (before["node"], before["epoch"]))

    def test_5_the_origin_and_the_director(self):
        """Playlists are away as long as their node is; the buffer is longer."""
        away = self.roll(self.media, 28, without=("transport",))
        self.assertTrue(away, "a node that restarts is away")
        self.assertLess(away[-1] - away[0], 5)


if __name__ == "__main__":
    main()
