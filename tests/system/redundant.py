"""What viewers do not notice (issue 3): the RTMP server in use dies or hangs, the encoder's machine dies, the coordinator is away.

    boss    coordinator      media   origin, director, edge      left, right   ingest, one copy of the broadcast each      w1, w2   workers

All tests go through one broadcast in order. Its encoder sends the same packets to both RTMP servers, as OBS with two outputs does.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time

from weir_node import Encoder, HostWatch, LoggedCase, Node, TwoWayEncoder
from weir_node import eventually, fetch, free_ports, main, processes, start_together, wait_until_playable, watched

TARGET = 2  # seconds: the profile short
FPS = 25
STEP = 90_000 // FPS  # ticks from picture to picture


def pictures(path):
    """Time stamps of all video packets of a segment, in 90 kHz ticks, sorted."""
    shown = subprocess.run(["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts", "-of", "json", path], stdout=subprocess.PIPE, check=True)
    return sorted(p["pts"] for p in json.loads(shown.stdout)["packets"])


class RedundantCase(LoggedCase):
    """A broadcast on two RTMP servers, `left` and `right`, and what its viewers must not notice."""

    LOG_LINES = 60

    @classmethod
    def go_live(cls):
        """Starts all nodes, and the broadcast; returns when it plays."""
        start_together(cls.nodes)
        cls.show = cls.boss.add_stream("show")
        cls.hls = cls.boss.add_hls(cls.show)
        cls.camera = TwoWayEncoder([cls.left, cls.right], "show", cls.show.key)
        cls.addClassCleanup(cls.camera.stop)
        wait_until_playable(cls.media, "show", 60)

    def publishers(self):
        return sorted(p["server"] for p in self.show.status()["publishers"])

    def server_in_use(self):
        """The one that the process reads, by its own last word; it may have changed over on its own."""
        worker = {"w1": self.w1, "w2": self.w2}[self.boss.task(self.hls)["node"]]
        changes = re.findall(r"reading goes on from rtmp://[^/]+:(\d+)/", "".join(line for line in worker.log().splitlines(True) if "standby" not in line))
        if not changes:
            return {"left": self.left, "right": self.right}[self.show.status()["input_server"]]
        return self.left if int(changes[-1]) == self.left.rtmp_port else self.right

    def pipeline(self):
        found = [p.pid for w in (self.w1, self.w2) for p in processes(lambda p, w=w: p.session in w.sessions and "weir-pipeline" in p.command)]
        return sorted(found)

    def assert_sound(self, follower):
        """The list only grew, with no number left out, and goes on."""
        self.assertEqual(follower.breaches, [])
        self.assertFalse(follower.ended)
        numbers = sorted(follower.seen)
        self.assertEqual(numbers, list(range(numbers[0], numbers[-1] + 1)))

    def holes(self, follower, since):
        return [m for m in sorted(follower.seen) if m > since and follower.seen[m][0].gap]

    def cuts(self, follower, since):
        return [m for m in follower.discontinuities() if m > since]

    def out_of_step(self, follower, since):
        """Where a picture does not follow the one before by the time of one, and how many pictures each segment after `since` holds."""
        seen = []
        with tempfile.TemporaryDirectory() as folder:
            for m in sorted(follower.seen):
                if m <= since or follower.seen[m][0].gap:
                    continue
                answer = fetch(follower.seen[m][0].uri)
                self.assertEqual(answer.status, 200)
                path = os.path.join(folder, "one.ts")
                with open(path, "wb") as f:
                    f.write(answer.body)
                seen.append((m, pictures(path)))
        flat = [p for _, all_ in seen for p in all_]
        return [(i, b - a) for i, (a, b) in enumerate(zip(flat, flat[1:])) if abs(b - a - STEP) > 180], [len(a) for _, a in seen]

    def assert_unbroken(self, follower, since):
        """No number left out, no hole, no cut, and every picture there once, from the first segment after `since` to the last."""
        self.assert_sound(follower)
        self.assertEqual(self.holes(follower, since), [], "no hole")
        self.assertEqual(self.cuts(follower, since), [], "no cut")
        odd, held = self.out_of_step(follower, since)
        self.assertEqual(odd, [], f"pictures follow each other by {STEP} ticks; segments hold {held}")

    def wait_for_the_moment(self, follower, behind):
        """Until so many seconds after a new segment, at least; returns its number."""
        newest = follower.newest()
        eventually("another segment", lambda: follower.newest() > newest, 3 * TARGET, every=0.01)
        since = follower.newest()
        eventually("the moment", lambda: time.monotonic() - follower.seen[since][1] >= behind, TARGET, every=0.01)
        return since

    def lose_the_server_in_use(self, break_it, mend_it, within, behind=0.0):
        """`behind`: seconds after a new segment at which it is lost, at least."""
        eventually("both servers have it", lambda: self.publishers() == ["left", "right"], 30)
        with HostWatch() as host, watched(self.media, "show", TARGET, every=0.1) as (follower, _):
            # The copy that is not in use is known for some seconds.
            newest = follower.newest()
            eventually("it plays", lambda: follower.newest() >= newest + 2, 6 * TARGET)
            used, pids = self.server_in_use(), self.pipeline()
            since = self.wait_for_the_moment(follower, behind)
            break_it(used)
            broke = time.monotonic()
            eventually("it goes on", lambda: follower.newest() >= since + 5, 12 * TARGET)
            waited = follower.longest_wait(broke, TARGET)
        phase = broke - follower.seen[since][1]
        sys.stderr.write(f"the server in use was lost {phase:.2f} s behind a segment: the next one came {waited:.2f} s late (this machine stood still for {host.longest:.2f} s)\n")
        self.assert_unbroken(follower, since)
        self.assertEqual(self.pipeline(), pids, "the same process")
        self.assertLess(waited, within)
        other = self.right if used is self.left else self.left
        eventually("the other one is in use", lambda: self.server_in_use() is other, 15)
        mend_it(used)
        eventually("it is back", lambda: self.publishers() == ["left", "right"], 40)
        self.assertEqual(self.pipeline(), pids)

    def wait_until_both_run(self):
        def both():
            task = self.boss.task(self.hls)
            assert task["phase"] == "running" and task["standby"] and task["standby"]["phase"] == "running", (task["phase"], task["reason"], task["standby"])
            return task

        return eventually("both run", both, 40)

    @contextlib.contextmanager
    def standing_by(self):
        """The task has a standby, which runs when the block begins."""
        alone = self.pipeline()
        self.boss.change("PATCH", f"/api/v1/tasks/{self.hls}", {"options": {"standby": True}})
        self.wait_until_both_run()
        self.assertLessEqual(set(alone), set(self.pipeline()), "the one that ran goes on")
        yield
        self.boss.change("PATCH", f"/api/v1/tasks/{self.hls}", {"options": {"standby": False}})
        eventually("one run is left", lambda: len(self.pipeline()) == 1, 15)

    def lose_one_of_two(self, break_it, mend_it):
        """The machine in charge of a task with a standby is lost, and the standby goes on in its place. Returns what a viewer's list showed, the number
        of its last segment before, and how many seconds late the next one came."""
        task = self.wait_until_both_run()
        self.assertNotEqual(task["node"], task["standby"]["node"])
        eventually("the standby knows both copies", lambda: self.publishers() == ["left", "right"], 20)
        self.assertIn("has the other run", task["standby"]["reason"])
        with HostWatch() as host, watched(self.media, "show", TARGET, every=0.1) as (follower, _):
            newest = follower.newest()
            eventually("it plays", lambda: follower.newest() >= newest + 4, 10 * TARGET)
            since = follower.newest()
            worker, other = (self.w1, self.w2) if task["node"] == "w1" else (self.w2, self.w1)
            break_it(worker)
            died = time.monotonic()
            eventually("it goes on", lambda: follower.newest() >= since + 5, 12 * TARGET)
            waited = follower.longest_wait(died, TARGET)
            moved = eventually("the standby is the run", lambda: (t := self.boss.task(self.hls))["node"] == other.name and t, 15)
            mend_it(worker)
            eventually("it has a standby of its own", lambda: (self.boss.task(self.hls)["standby"] or {}).get("phase") == "running", 40)
            newest = follower.newest()
            eventually("it goes on", lambda: follower.newest() >= newest + 3, 8 * TARGET)
        sys.stderr.write(f"the encoder's machine was lost: the next segment came {waited:.2f} s late (this machine stood still for {host.longest:.2f} s)\n")
        self.assertEqual(moved["epoch"], task["epoch"] + 1, "the run that stood by, not a new one")
        self.assertTrue([e for e in self.boss.events("standby-took-over")])
        return follower, since, waited

    def lose_the_encoders_machine(self, break_it, mend_it):
        """Of a task with a standby: nobody notices."""
        with self.standing_by():
            follower, since, waited = self.lose_one_of_two(break_it, mend_it)
            self.assert_unbroken(follower, since)
            self.assertLess(waited, 2)


class Redundant(RedundantCase):
    @classmethod
    def setUpClass(cls):
        door = f"127.0.0.1:{free_ports(1)}"

        def member(name, roles, **sections):
            node = Node(node={"name": name}, roles=roles, cluster={"name": "hall", **({"listen": door} if name == "boss" else {"join": [door]})}, **sections)
            cls.addClassCleanup(node.remove)
            return node

        cls.boss = member("boss", ["coordinator"], coordinator={"publish_grace": "8s"})
        cls.media = member("media", ["origin", "director", "edge"])
        cls.left, cls.right = (member(name, ["ingest"], hooks={"without_coordinator": "known_keys"}) for name in ("left", "right"))
        cls.w1, cls.w2 = (member(name, ["worker"], worker={"cores": 4}) for name in ("w1", "w2"))
        cls.nodes = [cls.boss, cls.media, cls.left, cls.right, cls.w1, cls.w2]
        cls.go_live()

    def test_1_the_server_in_use_dies(self):
        self.lose_the_server_in_use(lambda n: n.kill(), lambda n: n.start(), 3.2)

    def test_2_the_server_in_use_hangs(self):
        self.lose_the_server_in_use(lambda n: n.pause(True), lambda n: n.pause(False), 5)
        self.assertTrue(self.boss.events("rtmp-server-silent"))

    def test_3_the_encoders_machine_dies_and_its_standby_goes_on(self):
        self.lose_the_encoders_machine(lambda n: n.kill(), lambda n: n.start())

    def test_4_the_coordinator_is_away(self):
        """Restreams go on, because more than half of the nodes miss it; and who knows a key may publish."""
        out, late = self.boss.add_stream("out"), self.boss.add_stream("late")
        push = self.boss.add_task(self.show, "restream", {"url": self.right.publish_url(out.name, out.key)})
        self.boss.wait_for_task(push, "running", 30)
        self.boss.wait_for_task(self.hls, "running", 30)
        before = {t: (s["node"], s["epoch"]) for t in (push, self.hls) for s in [self.boss.task(t)]}
        pids = self.pipeline()
        published = len(self.boss.task(push)["log_tail"])
        eventually("the new key is known", lambda: all(n.get("/introspect?here=1") and '"late"' in open(os.path.join(n.data, "known-keys.json"), encoding="utf-8").read() for n in (self.left, self.right)), 20)
        with watched(self.media, "show", TARGET) as (follower, _):
            self.boss.kill()
            gone, since = time.monotonic(), follower.newest()
            eventually("longer than any lease", lambda: time.monotonic() - gone > 12, 15)
            self.assertEqual(self.pipeline(), pids, "nothing has ended")
            with Encoder(self.left, "late", "not-its-key") as liar:
                self.assertNotEqual(liar.wait(10), 0)
            guest = Encoder(self.left, "late", late.key)
            self.addCleanup(guest.stop)
            eventually("it publishes", lambda: "<name>late</name>" in fetch(f"http://127.0.0.1:{self.left.stat_port}/stat").text, 10)
            self.boss.start()
            late.wait_for_phase("live", 15)
            eventually("all run", lambda: all(self.boss.task(t)["phase"] == "running" for t in (push, self.hls)), 20)
            eventually("it goes on", lambda: follower.newest() >= since + 8, 12 * TARGET)
        self.assertEqual({t: (s["node"], s["epoch"]) for t in before for s in [self.boss.task(t)]}, before, f"nothing was started again ({published} lines)")
        self.assertEqual(self.pipeline(), pids)
        self.assert_unbroken(follower, since)

    def test_5_one_tree_of_all_nodes(self):
        tree = self.boss.get("/introspect")
        self.assertEqual(tree["silent"], [])
        self.assertEqual({a["node"] for a in tree["actors"]}, {n.name for n in self.nodes})
        servers = {s["name"]: s for s in self.boss.items("/api/v1/rtmp-servers")}
        self.assertTrue(servers["left"]["up"] and servers["right"]["up"], servers)


if __name__ == "__main__":
    main()
