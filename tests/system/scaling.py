"""As many edges as are needed (issue 4): spare instances of nginx are started when viewers come and ended when they have left, and nobody who
watches notices.

Scaling: one node with all roles: two edges that always run, two to spare. What an edge can send is set so low that a handful of players are a crowd.
Machines: a node with an edge and the coordinator, who orders machines of a cloud by a script; each is a node with one edge. The cloud is in this program.
"""

import contextlib
import http.server
import json
import os
import subprocess
import tempfile
import threading

from weir_node import PROGRAM, Encoder, Follower, LoggedCase, Node, NodeCase, Player, Playlist, Viewer, eventually, fetch, free_ports, main, processes, wait_until_playable

TARGET = 2       # seconds: the profile short
COOL_DOWN = 10   # seconds
WINDOW = 20      # seconds that a playlist lists
FIRST = free_ports(4)


class Scaling(NodeCase):
    SECTIONS = {
        "edge": {"instances": 2, "spare": 2, "first_port": FIRST, "egress": "3M"},
        "ladders": [{"name": "small", "rungs": [{"name": "360p", "height": 360, "video": "1M"}], "audio": "64k", "preset": "superfast"}],
        "origin": {"profile": "short", "window": f"{WINDOW}s"},
        "director": {"steering_ttl": "5s", "concentrate": False},
        "autoscaler": {
            "driver": "process", "least": 2, "most": 4, "boot": "1s", "cool_down": f"{COOL_DOWN}s", "imbalance_percent": 0, "growth_percent": 0,
        },
    }

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.show = cls.node.add_stream("show")
        cls.node.add_hls(cls.show)
        cls.camera = Encoder(cls.node, "show", cls.show.key)
        cls.addClassCleanup(cls.camera.stop)
        cls.players = []
        cls.follower = Follower(wait_until_playable(cls.node, "show", 40))
        cls.follower.start()
        cls.addClassCleanup(cls.follower.stop)

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
        eventually("the edges serve", lambda: set(self.edges().values()) == {"serving"}, 20)
        self.assertEqual(set(self.edges()), {"lab-1", "lab-2"})
        shown = self.explained()
        self.assertIn("2 edges are there, 2 are wanted, 2 more could be started.", shown)
        self.assertIn("lab-1", shown)

    def test_2_edges_come_with_viewers(self):
        while len(self.players) < 6 and not self.node.events("edges-scale-out"):
            self.join()
        eventually("more of them serve", lambda: list(self.edges().values()).count("serving") >= 3, 40)
        out = self.node.events("edges-scale-out")
        self.assertRegex(out[0]["text"], r"^. more (is|are) started\. .*bit/s to \d+ viewers.*: 2 edges are too few for .*bit/s with one of them lost\.$")
        spares = tuple(f"http://127.0.0.1:{FIRST + n}/" for n in (2, 3))
        eventually("new segments are fetched from them", lambda: any(e.uri.startswith(spares) for e in self.newest()), 60)
        self.assertRegex(self.node.call("GET", "/metrics").text, r'weir_autoscaler_decisions_total\{decision="start"\} [12]')

    def newest(self):
        """What is listed last for the viewers that play, and for new ones where there is room."""
        lists = [p.pathways[0] for p in self.players]
        with contextlib.suppress(ValueError):
            lists.append(Viewer(self.node, "show").variants[0])
        return [Playlist(url, fetch(url).text).media[-1] for url in lists]

    def test_3_and_go_with_them(self):
        for player in self.players[1:]:
            player.stop()
        eventually("one is drained", lambda: self.node.events("edges-scale-in"), 90)
        eventually("only what always runs is left", lambda: self.edges() == {"lab-1": "serving", "lab-2": "serving"}, 120)
        self.assertTrue(self.node.events("edge-ended"))
        self.assertEqual(self.scaler()["want"], 2)
        spares = [os.path.join(self.node.data, f"edge-{n}") for n in (3, 4)]
        self.assertEqual(processes(lambda p: p.folder in spares), [])

    def test_4_and_nobody_noticed(self):
        self.assertTrue(self.players)
        for player in self.players:
            self.assertEqual(player.failures, [])
            self.assertEqual(player.stalls, [])
        self.assertEqual(self.follower.breaches, [])

    def test_5_what_ran_before_a_power_loss_is_not_waited_for(self):
        """The coordinator remembers edges that nobody starts again."""
        self.follower.stop()
        self.camera.stop()
        self.node.stop()
        with open(self.node.config_file, encoding="utf-8") as f:
            config = json.load(f)
        for least in (4, 2):
            config["autoscaler"]["least"] = least
            with open(self.node.config_file, "w", encoding="utf-8") as f:
                json.dump(config, f)
            self.node.start()
            eventually("as many as are wanted serve", lambda least=least: self.edges() == {f"lab-{n}": "serving" for n in range(1, least + 1)}, 40)
            self.node.kill()
        self.node.start()


class Cloud(http.server.HTTPServer):
    """Has machines: takes an order at a time, on one thread that lives as long as they."""

    def __init__(self, door):
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.door = door
        self.machines = {}  # name → node, those that were ended too
        self.present = []
        self.orders = []    # (order, machine)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"

    def obey(self, order, machine):
        if order == "list":
            return {"machines": list(self.present)}
        self.orders.append((order, machine))
        if order == "begin" and machine not in self.machines:
            node = self.machines[machine] = Node(node={"name": machine}, roles=["edge"], cluster={"name": "hall", "join": [self.door]},
                                                 edge={"instances": 1, "origins": [self.url()]})
            node.launch()
            self.present.append(machine)
        elif order == "end" and machine in self.present:
            self.present.remove(machine)
            self.machines[machine].kill()
        return {"accepted": True}

    def remove(self):
        self.shutdown()
        self.server_close()
        for node in self.machines.values():
            node.remove()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            """What edges ask their origin for when nothing is live."""
            self.send_error(404)

        def do_POST(self):
            wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = json.dumps(self.server.obey(wish["order"], wish.get("machine"))).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass


class Machines(LoggedCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="weir-script-")
        cls.addClassCleanup(folder.cleanup)
        door = f"127.0.0.1:{free_ports(1)}"
        cls.cloud = Cloud(door)
        cls.addClassCleanup(cls.cloud.remove)
        script = os.path.join(folder.name, "order")
        with open(script, "w", encoding="utf-8") as f:
            f.write('#!/bin/sh\necho "to $WEIR_ORDER $WEIR_MACHINE" >&2\n'
                    f'exec curl -sS --fail --max-time 20 --data-binary @- {cls.cloud.url()}\n')
        os.chmod(script, 0o700)
        cls.boss = Node(node={"name": "boss"}, roles=["coordinator", "edge"], cluster={"name": "hall", "listen": door}, director={"steering_ttl": "5s", "concentrate": False},
                        edge={"instances": 1, "origins": [cls.cloud.url()]},
                        autoscaler={"driver": "exec", "command": [script], "least": 2, "most": 3, "boot": "20s", "per_hour": 2})
        cls.addClassCleanup(cls.boss.remove)
        cls.nodes = [cls.boss]
        cls.boss.start()

    def scaler(self):
        return self.boss.get("/api/v1/autoscaler")

    def phases(self):
        return {m["name"]: m["phase"] for m in self.scaler()["machines"]}

    def edge_of(self, machine, phases):
        """Waits until it is in one of the phases."""
        its = lambda: [e for e in self.boss.items("/api/v1/edges") if e["node"] == machine and e["phase"] in phases]
        eventually(f"its edge is {' or '.join(phases)}", its, 20)

    def test_1_a_machine_is_begun_and_joins(self):
        eventually("a machine is there", lambda: list(self.phases().values()) == ["there"], 30)
        (machine,) = self.cloud.present
        self.assertRegex(machine, r"^hall-edge-[a-z2-7]{10}$")
        self.assertEqual(self.cloud.orders, [("begin", machine)])
        self.edge_of(machine, ("starting", "serving"))
        self.assertIn(f"order=begin {machine}", self.boss.log().replace('"', ""))
        asked = [PROGRAM, "edge", "list", "--explain", "--server", self.boss.url, "--token", self.boss.token]
        shown = subprocess.run(asked, stdout=subprocess.PIPE, check=True, text=True).stdout
        self.assertIn(f"Machine {machine} is there", shown)

    def test_2_and_is_not_forgotten_when_the_coordinator_is_killed(self):
        (machine,) = self.cloud.present
        self.boss.kill()
        with open(self.boss.config_file, encoding="utf-8") as f:
            config = json.load(f)
        config["autoscaler"]["least"] = 1
        with open(self.boss.config_file, "w", encoding="utf-8") as f:
            json.dump(config, f)
        self.boss.start()
        eventually("it has thought", lambda: self.scaler()["why"], 20)
        self.assertEqual(self.phases(), {machine: "there"})
        self.assertEqual(self.scaler()["begun_last_day"], 1)
        self.assertEqual(self.cloud.orders, [("begin", machine)])

    def test_3_and_is_ended_when_it_is_drained(self):
        (machine,) = self.cloud.present
        self.edge_of(machine, ("starting", "serving", "suspect"))
        self.boss.change("POST", f"/api/v1/edges/{machine}-1/drain")
        eventually("it is ended", lambda: not self.cloud.present, 40)
        self.assertEqual(self.cloud.orders, [("begin", machine), ("end", machine)])
        self.assertEqual(self.phases(), {machine: "ending"}, "until a list says that it is gone")


if __name__ == "__main__":
    main()
