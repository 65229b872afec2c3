"""Origins that keep copies for each other, three and two, and what the loss of the one that writes costs a broadcast.

    boss    coordinator      o1, o2, o3   origin      lists   director      work   ingest, worker      cache   an edge

All tests of a class go through one broadcast in order, and one viewer watches all of it: a player with a buffer, who keeps every picture that it got.
"""

import os
import shutil
import sys
import tempfile
import time

from cluster import SANITIZED, ClusterCase, Member, weir
from redundant import FPS, TARGET, pictures
from weir_node import Encoder, Follower, Player, eventually, free_ports, main, start_together, wait_until_playable

TAKES_OVER = 4.5 + SANITIZED  # seconds: 2.5 of silence, then claims, logs and the runs' next try


class Broadcast(ClusterCase):
    NAMES = ("o1", "o2", "o3")

    @classmethod
    def setUpClass(cls):
        cls.authority = tempfile.TemporaryDirectory(prefix="weir-ca-")
        cls.addClassCleanup(cls.authority.cleanup)
        folder = Member.authority = os.path.join(cls.authority.name, "ca")
        weir("cluster", "init-ca", "--dir", folder, "--name", "hall")
        weir("cluster", "issue", "--dir", folder, "boss", *cls.NAMES, "lists", "work", "cache")
        door = f"127.0.0.1:{free_ports(1)}"
        cls.boss = Member("boss", ["coordinator"], door, listens=True, coordinator={"publish_grace": "8s"})
        cls.origins = [Member(name, ["origin"], door, origin={"store": "replicated", "copies": len(cls.NAMES)}) for name in cls.NAMES]
        cls.lists = Member("lists", ["director"], door)
        cls.work = Member("work", ["ingest", "worker"], door, worker={"cores": 4})
        cls.cache = Member("cache", ["edge"], door, edge={"instances": 1, **cls.edge_options()})
        cls.nodes = [cls.boss, *cls.origins, cls.lists, cls.work, cls.cache]
        for node in cls.nodes:
            cls.addClassCleanup(node.remove)
        start_together(cls.nodes)
        cls.show = cls.boss.add_stream("show")
        cls.hls = cls.boss.add_hls(cls.show)
        cls.camera = Encoder(cls.work, "show", cls.show.key, insists=True)
        cls.addClassCleanup(cls.camera.stop)
        viewer = wait_until_playable(cls.lists, "show", 60)
        eventually("enough is listed for the hold-back", lambda: len(viewer.playlist().media) > 6, 10 * TARGET)
        cls.player, cls.follower = Player(viewer, TARGET), Follower(viewer, every=0.1)
        for one in (cls.player, cls.follower):
            cls.addClassCleanup(one.stop)
            one.start()

    @classmethod
    def edge_options(cls):
        return {}  # it hears of the origins from the cluster

    # what is seen of origins

    def view(self):
        return self.boss.actors("coordinator", here=True)[0]["status"]["origins"]

    def owner(self):
        name = self.view()["writes"]
        return next(o for o in self.origins if o.name == name)

    def wait_until_at_rest(self):
        """One writes, the others have all that it has, and the edge knows them: any one of them may be lost now."""

        def at_rest():
            phases = self.phases()
            assert phases == {n.name: "ready" for n in self.nodes}, phases
            view = self.view()
            assert view["in_force"] and view["members"] == view["there"] == len(self.NAMES), view
            copies = self.owner().actors("origin", here=True)[0]["status"]["copies"]
            assert copies["writes"] and copies["term"] == view["term"] and set(copies["owed"].values()) == {0}, copies
            asked = self.cache.actors("edge", here=True)[0]["status"]["origins"]  # it hears each other second who has come back
            assert {f"http://{o}" for o in asked} == {o.url for o in self.origins}, asked
            return True

        eventually("every origin has everything", at_rest, 60)

    def lose(self, break_it):
        """The one that writes is lost; returns it, and when another one had all streams."""
        self.wait_until_at_rest()
        eventually("it plays", lambda: self.player.newest() >= 0 and self.player.level() > 0, 10 * TARGET)
        owner, term = self.owner(), self.view()["term"]
        began = time.monotonic()
        break_it(owner)
        eventually("another one has all streams", lambda: (v := self.view())["in_force"] and v["term"] > term and v["writes"] != owner.name, 30, every=0.05)
        took, newest = time.monotonic() - began, self.follower.newest()
        eventually("it goes on", lambda: self.follower.newest() >= newest + 3, 12 * TARGET)
        return owner, began, took

    def judge(self, began, hung=False):
        player, follower = self.player, self.follower
        since = follower.newest_at(began)
        levels = [left for at, left in player.levels if at > began]
        failed = [(round(at - began, 2), what, url, why) for at, what, url, why in player.failures if at > began]
        sys.stderr.write(f"lowest buffer {min(levels, default=0):.1f} s; {len(failed)} requests failed: {failed[:4]}\n")
        with self.subTest("no hole, no cut"):
            self.assertEqual([m for m in follower.seen if m > since and follower.seen[m][0].gap], [], "gaps")
            self.assertEqual([m for m in follower.discontinuities() if m > since], [], "discontinuities")
            self.assert_unbroken(follower)
        with self.subTest("no stall"):
            self.assertEqual([s for s in player.stalls if s[0] > began], [])
        if not hung:  # else an edge waits for its answer before it asks the next one, longer perhaps than the player
            with self.subTest("no segment is missing where one is listed"):
                self.assertEqual([f for f in failed if f[1] == "segment"], [])
        with self.subTest("every picture once"):
            shown = [p for m in sorted(player.got) if m >= since for p in pictures(player.path(m))]
            step = 90_000 // FPS
            self.assertEqual([(at, b - a) for at, (a, b) in enumerate(zip(shown, shown[1:])) if abs(b - a - step) > 180], [], f"pictures follow each other by {step} ticks")

    def start_again(self, node):
        node.launch()
        node.wait_until_ready()



class Origins(Broadcast):
    @classmethod
    def edge_options(cls):
        return {"origins": [o.url for o in cls.origins]}

    def test_1_the_one_that_writes_is_killed(self):
        pids = self.work.pipelines()
        owner, began, took = self.lose(lambda node: node.kill())
        sys.stderr.write(f"killed: another origin had all streams after {took:.1f} s\n")
        self.assertLess(took, TAKES_OVER)
        self.assertEqual(self.work.pipelines(), pids, "the run goes on, and delivers elsewhere")
        self.start_again(owner)
        self.wait_until_at_rest()
        self.assertNotEqual(self.owner().name, owner.name, "it keeps copies again, and does not take the streams back")
        self.judge(began)

    def test_2_the_one_that_writes_stands_still_and_wakes(self):
        owner, began, took = self.lose(lambda node: node.pause(True))
        sys.stderr.write(f"hung: another origin had all streams after {took:.1f} s\n")
        self.assertLess(took, TAKES_OVER)
        said, newest = len(owner.log()), self.follower.newest()
        owner.pause(False)
        eventually("it stands by", lambda: "stands-by" in owner.log()[said:], 20)
        eventually("it goes on", lambda: self.follower.newest() >= newest + 3, 12 * TARGET)
        self.wait_until_at_rest()
        self.judge(began, hung=True)

    def test_3_the_coordinator_is_lost_and_then_the_one_that_writes(self):
        """Nobody takes over meanwhile; nothing that was listed is lost."""
        self.wait_until_at_rest()
        owner, term, began = self.owner(), self.view()["term"], time.monotonic()
        self.boss.kill()
        newest = self.follower.newest()
        eventually("whoever writes goes on", lambda: self.follower.newest() >= newest + 2, 8 * TARGET)
        owner.kill()
        newest = self.follower.newest()
        stood = time.monotonic()
        eventually("the list stands still", lambda: time.monotonic() - stood > 2 * TARGET and self.follower.newest() <= newest + 1, 6 * TARGET)
        self.start_again(self.boss)
        eventually("another one has all streams", lambda: (v := self.view())["in_force"] and v["term"] > term and v["writes"] != owner.name, 40)
        newest = self.follower.newest()
        eventually("it goes on", lambda: self.follower.newest() >= newest + 3, 20 * TARGET)
        self.assertEqual(self.follower.breaches, [])
        numbers = sorted(self.follower.seen)
        self.assertEqual(numbers, list(range(numbers[0], numbers[-1] + 1)), "no number is left out")
        lost = [f for f in self.player.failures if f[0] > began and f[1] == "segment"]
        self.assertEqual(lost, [], "what was listed is there")
        self.start_again(owner)
        self.wait_until_at_rest()

    def test_4_all_end_in_order(self):
        self.camera.stop()
        for node in [self.work, self.cache, self.lists, *self.origins, self.boss]:
            node.stop()


class TwoOrigins(Broadcast):
    """Each is lost after the other has come back: what it was lost with, and what it learned since, is what the broadcast goes on with."""

    NAMES = ("o1", "o2")

    def lose_and_go_on_alone(self):
        owner, began, took = self.lose(lambda node: node.kill())
        sys.stderr.write(f"killed: the other one had all streams after {took:.1f} s\n")
        self.assertEqual(self.view()["names"], [self.owner().name], "it goes on alone")
        return owner, began

    def come_back(self, node):
        began = time.monotonic()
        self.start_again(node)
        self.wait_until_at_rest()
        sys.stderr.write(f"{node.name} keeps copies again after {time.monotonic() - began:.1f} s\n")
        self.assertNotEqual(self.owner().name, node.name, "who writes goes on")

    def test_1_one_is_lost_and_comes_back_and_then_the_other(self):
        self.wait_until_at_rest()
        self.assertEqual({f"http://{o}" for o in self.cache.actors("edge", here=True)[0]["status"]["origins"]}, {o.url for o in self.origins})
        first, began = self.lose_and_go_on_alone()
        self.come_back(first)
        second, _ = self.lose_and_go_on_alone()
        self.assertEqual(self.owner().name, first.name)
        self.judge(began)
        self.start_again_without_disk(second)
        self.judge(began)

    def start_again_without_disk(self, node):
        shutil.rmtree(os.path.join(node.data, "origin"))
        self.come_back(node)
        self.lose_and_go_on_alone()
        self.assertEqual(self.owner().name, node.name)

    def test_2_all_end_in_order(self):
        self.camera.stop()
        for node in [self.work, self.cache, self.lists, self.owner(), self.boss]:
            node.stop()


if __name__ == "__main__":
    main()
