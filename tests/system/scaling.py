"""As many edges as are needed (issue 4): spare instances of nginx are started when viewers come and ended when they have left, and nobody who
watches notices.

One node with all roles: one edge that always runs, two to spare. What an edge can send is set so low that a handful of players are a crowd.
"""

import os
import subprocess
import time

from weir_node import PROGRAM, Encoder, Linter, NodeCase, Player, Viewer, eventually, free_ports, main, processes, wait_until_playable

TARGET = 2       # seconds: the profile short
COOL_DOWN = 10   # seconds
WINDOW = 20      # seconds that a playlist lists
FIRST = free_ports(3)


class Scaling(NodeCase):
    SECTIONS = {
        "edge": {"instances": 1, "spare": 2, "first_port": FIRST, "egress": "1.5M"},
        "origin": {"profile": "short", "window": f"{WINDOW}s"},
        "director": {"steering_ttl": "5s"},
        "autoscaler": {
            "driver": "process", "least": 1, "most": 3, "boot": "1s", "cool_down": f"{COOL_DOWN}s", "imbalance_percent": 0, "growth_percent": 0,
        },
    }

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.show = cls.node.add_stream("show")
        cls.node.add_hls(cls.show)
        cls.camera = Encoder(cls.node, "show", cls.show.key)
        cls.addClassCleanup(cls.camera.stop)
        wait_until_playable(cls.node, "show", 40)
        cls.linter = Linter(cls.node, "show")
        cls.players = []
        cls.linter.start()
        cls.addClassCleanup(cls.linter.stop)

    def edges(self):
        return {e["name"]: e["phase"] for e in self.node.items("/api/v1/edges")}

    def scaler(self):
        return self.node.get("/api/v1/autoscaler")

    def join(self):
        """Viewers are admitted one by one, as the farm has room for them."""
        viewer = eventually("there is room for a viewer", lambda: Viewer(self.node, "show"), 40, every=0.5)
        eventually("enough is listed for the hold-back", lambda: len(viewer.playlist().media) > 6, 10 * TARGET)
        player = Player(viewer, TARGET)
        player.start()
        self.addClassCleanup(player.stop)
        self.players.append(player)

    def explained(self):
        return subprocess.run([PROGRAM, "edge", "list", "--explain", "--server", self.node.url, "--token", self.node.token], stdout=subprocess.PIPE, check=True, text=True).stdout

    def test_1_nothing_is_started_for_nobody(self):
        eventually("it has thought", lambda: self.scaler()["why"], 20)
        self.assertEqual(self.edges(), {"lab-1": "serving"})
        shown = self.explained()
        self.assertIn("1 edges are there, 1 are wanted, 2 more could be started.", shown)
        self.assertIn("lab-1", shown)

    def test_2_edges_come_with_viewers(self):
        began = time.monotonic()
        while len(self.players) < 8 and len(self.edges()) < 3 and time.monotonic() - began < 60:
            self.join()
        eventually("all of them serve", lambda: self.edges() == {f"lab-{n}": "serving" for n in (1, 2, 3)}, 40)
        out = self.node.events("edges-scale-out")
        self.assertTrue(out)
        self.assertRegex(out[0]["text"], r"more (is|are) started\. .* to \d+ viewers: 1 edges are too few for .*bit/s with one of them lost")
        self.join()
        spare = {f"http://127.0.0.1:{FIRST + n}" for n in (1, 2)}

        def elsewhere():
            listed = {e.uri.split("/s/")[0] for v in (Viewer(self.node, "show") for _ in range(8)) for e in v.playlist().media[-2:]}
            return spare & listed

        eventually("new segments are fetched from them", elsewhere, 60)
        self.assertIn("weir_autoscaler_decisions_total", self.node.call("GET", "/metrics").text)

    def test_3_and_go_with_them(self):
        for player in self.players[1:]:
            player.stop()
        eventually("one is drained", lambda: self.node.events("edges-scale-in"), 60)
        eventually("and ended, and the next", lambda: len(self.node.events("edge-ended")) == 2 or len(self.edges()) == 2, 120)
        self.players[0].stop()
        eventually("only what always runs is left", lambda: self.edges() == {"lab-1": "serving"}, 120)
        self.assertEqual(self.scaler()["want"], 1)
        self.assertEqual(len(self.node.events("edge-ended")), 2)
        spares = [os.path.join(self.node.data, f"edge-{n}") for n in (2, 3)]
        self.assertEqual(processes(lambda p: p.folder in spares), [])

    def test_4_and_nobody_noticed(self):
        for player in self.players:
            self.assertEqual(player.failures, [])
            self.assertEqual(player.stalls, [])
        self.assertEqual(self.linter.findings, [])
        self.assertTrue(self.linter.segments)


if __name__ == "__main__":
    main()
