"""Two coordinators, elected by a real etcd of three members (issue 3): what the loss of each costs a broadcast.

    c1, c2    coordinators, one leads      media    ingest, origin, director      w1    a worker

All tests go through one broadcast in order.
"""

import contextlib
import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from weir_node import PROGRAM, Encoder, LoggedCase, Node, _spawn, eventually, fetch, free_ports, main, processes, start_together, wait_until_playable, watched

TARGET = 2       # seconds: the profile short
TAKE_OVER = 10   # seconds, at most
SANITIZED = 2    # seconds more, for sanitized programs on a busy machine


class Etcd:
    """Three members on this machine."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="weir-etcd-")
        first = free_ports(6)
        self.clients = [f"http://127.0.0.1:{first + i}" for i in range(3)]
        self.peers = [f"http://127.0.0.1:{first + 3 + i}" for i in range(3)]
        self.members = [None] * 3
        for i in range(3):
            self.start(i)
        for client in self.clients:
            eventually(f"{client} is healthy", lambda client=client: fetch(client + "/health", timeout=3).status == 200, 40)

    def start(self, i):
        cluster = ",".join(f"m{n}={peer}" for n, peer in enumerate(self.peers))
        with open(os.path.join(self.folder, f"m{i}.log"), "ab") as log:
            self.members[i] = _spawn(["etcd", "--name", f"m{i}", "--data-dir", os.path.join(self.folder, f"m{i}"), "--listen-client-urls", self.clients[i],
                                      "--advertise-client-urls", self.clients[i], "--listen-peer-urls", self.peers[i], "--initial-advertise-peer-urls", self.peers[i],
                                      "--initial-cluster", cluster, "--initial-cluster-token", os.path.basename(self.folder)], stdout=log, stderr=log)

    def kill(self, i):
        self.members[i].kill()
        self.members[i].wait(10)

    def leader(self):
        """The number of the member that the others elected, by its own account."""
        for i, client in enumerate(self.clients):
            said = fetch(client + "/v3/maintenance/status", "POST", {}, timeout=3).json
            if said["header"]["member_id"] == said.get("leader"):
                return i
        raise AssertionError("no member of etcd says that it leads")

    def remove(self):
        for member in self.members:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                member.kill()
                member.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


class Member(Node):
    """One node of the cluster."""

    authority = None

    def __init__(self, name, roles, cluster, **sections):
        certificates = {"ca": f"{self.authority}/ca.pem", "certificate": f"{self.authority}/{name}.pem", "key": f"{self.authority}/{name}.key"}
        super().__init__(node={"name": name}, roles=roles, cluster={"name": "hall", **certificates, **cluster}, **sections)

    def pipelines(self):
        return sorted(p.pid for p in processes(lambda p: p.session in self.sessions and "weir-pipeline" in p.command))

    def launch(self):
        self.former = len(self.log()) if os.path.exists(self.log_file) else 0  # bytes of the log that a former process wrote
        super().launch()

    def term(self):
        """The epoch under which it coordinates by its own account, or 0. From its log: nobody else has to answer for it."""
        said = re.findall(r" seat (?:coordinates .*epoch=(\d+)|stands-by)", self.log()[self.former:])
        return int(said[-1] or 0) if said else 0

    def leads(self):
        return self.process.poll() is None and self.term() != 0

    def metric(self, series):
        """The value of a series as this node shows it, or None."""
        for line in fetch(self.url + "/metrics", timeout=5).text.splitlines():
            if line.startswith(series + " "):
                return float(line.rsplit(" ", 1)[1])
        return None

    def follows(self):
        """Who leads, as the election told it last."""
        said = re.findall(r" election follows .*leader=(\S+)", self.log()[self.former:])
        return said[-1] if said else ""


class Writer:
    """Makes streams, one after the other, until it is refused or has no answer: what was acknowledged until then must not be lost."""

    def __init__(self, node):
        self.node, self.made = node, {}  # id → name
        self.thread = threading.Thread(target=self._write, daemon=True)
        self.thread.start()

    def _write(self):
        while True:
            name = f"by-{self.node.name}-{time.monotonic_ns()}"
            try:
                answer = self.node.call("POST", "/api/v1/streams", {"name": name}, timeout=3)
            except (OSError, http.client.HTTPException):
                return
            if answer.status != 201:
                return
            self.made[answer.json["id"]] = name

    def wait(self):
        """All that was acknowledged, once nothing more is."""
        self.thread.join(10)
        if self.thread.is_alive():
            raise AssertionError(f"{self.node.name} still takes streams")
        return self.made


class Election(LoggedCase):
    LOG_LINES = 160

    @classmethod
    def setUpClass(cls):
        cls.etcd = Etcd()
        cls.addClassCleanup(cls.etcd.remove)
        authority = tempfile.TemporaryDirectory(prefix="weir-ca-")
        cls.addClassCleanup(authority.cleanup)
        Member.authority = os.path.join(authority.name, "ca")
        for words in (["init-ca", "--name", "hall"], ["issue", "c1", "c2", "media", "w1"]):
            subprocess.run([PROGRAM, "cluster", *words, "--dir", Member.authority], stdout=subprocess.DEVNULL, check=True)
        first = free_ports(2)
        doors = [f"127.0.0.1:{first}", f"127.0.0.1:{first + 1}"]
        shared = {"publish_grace": "8s", "lease_ttl": "20s", "election": "etcd", "etcd_endpoints": cls.etcd.clients}
        cls.c1, cls.c2 = (Member(f"c{i + 1}", ["coordinator"], {"listen": doors[i], "join": [doors[1 - i]]}, coordinator=shared) for i in range(2))
        cls.media = Member("media", ["ingest", "origin", "director"], {"join": doors})
        cls.w1 = Member("w1", ["worker"], {"join": doors}, worker={"cores": 4})
        cls.nodes = [cls.c1, cls.c2, cls.media, cls.w1]
        for node in cls.nodes:
            cls.addClassCleanup(node.remove)

    def leader(self, within=TAKE_OVER):
        return eventually("somebody coordinates", lambda: next((c for c in (self.c1, self.c2) if c.leads()), None), within)

    def other(self, node):
        return self.c2 if node is self.c1 else self.c1

    def wait_for_standbys(self, through, count, within=10):
        eventually(f"{count} stand by", lambda: through.metric("weir_election_standbys") == count, within)

    def member_up(self, through, i):
        return through.metric(f'weir_election_etcd_member_up{{member="{self.etcd.clients[i]}"}}')

    def runs_of(self, node):
        """(phase, node, epoch, attempts) of the ladder and of the restream, as that node shows them; and their processes."""
        tasks = [node.task(id) for id in (self.hls, self.push)]
        return [(t["phase"], t["node"], t["epoch"], t["attempts"]) for t in tasks], self.w1.pipelines()

    def connections(self):
        """Who publishes to the restream's target, by nginx's own account: a restream that was interrupted is another one."""
        shown = fetch(f"http://127.0.0.1:{self.media.stat_port}/stat", timeout=5).text
        for stream in re.findall(r"<stream>(.*?)</stream>", shown, re.S):
            if "<name>out</name>" in stream:
                return [re.search(r"<id>(\d+)</id>", c)[1] for c in re.findall(r"<client>(.*?)</client>", stream, re.S) if "<publishing/>" in c]
        return []

    def wait_until_all_are_there(self, through, within=20):
        names = lambda: {n["name"] for n in through.items("/api/v1/nodes") if n["phase"] == "ready"}
        eventually("all nodes are there", lambda: names() >= {n.name for n in self.nodes if n.process.poll() is None}, within)

    def take_over(self, loser, lose, within=TAKE_OVER):
        """`loser` leads and is lost; returns the seconds until the other one answers as the coordinator that has what was made right before."""
        heir = self.other(loser)
        before, connections = self.runs_of(loser), self.connections()
        self.assertEqual([run[0] for run in before[0]], ["running"] * 2)
        self.assertEqual((len(before[1]), len(connections)), (2, 1))
        with watched(self.media, "show", TARGET) as (follower, _):
            seams = follower.discontinuities()
            made = loser.add_stream(f"last-of-{loser.name}-{time.monotonic_ns()}")
            writer = Writer(loser)
            eventually("writes are under way", lambda: len(writer.made) >= 5, 10, every=0.01)
            lose()
            lost = time.monotonic()
            eventually("the other one coordinates", heir.leads, within + SANITIZED, every=0.05)
            self.assertEqual(heir.get(f"/api/v1/streams/{made.id}")["name"], made.name, "nothing acknowledged is lost")
            took = time.monotonic() - lost
            self.assertEqual(heir.get(f"/api/v1/streams/{made.id}/key")["key"], made.key)
            acknowledged, there = writer.wait(), {s["id"]: s["name"] for s in heir.items("/api/v1/streams")}
            self.assertEqual({id: there.get(id) for id in acknowledged}, acknowledged, "nothing acknowledged is lost")
            eventually("the same processes go on", lambda: self.runs_of(heir) == before, 20)
            newest = follower.newest()
            eventually("playlists go on", lambda: follower.newest() >= newest + 2, 6 * TARGET)
        self.assertEqual((self.runs_of(heir), self.connections()), (before, connections))
        self.assertEqual(follower.breaches, [])
        fresh = [m for m in follower.discontinuities() if m not in seams]
        self.assertEqual(fresh, [], [(m, vars(follower.seen[m][0])) for m in sorted(follower.seen)[-12:]])
        self.assertLess(took, within)
        return took

    def kill_the_leader(self):
        """Returns the seconds until the other one coordinates; then both are there again."""
        leader = self.leader()
        heir = self.other(leader)
        took = self.take_over(leader, leader.kill)
        sys.stderr.write(f"leader killed: the other one coordinates after {took:.1f} s\n")
        self.wait_for_standbys(heir, 0)
        leader.start()
        self.wait_for_standbys(heir, 1)
        self.assertFalse(leader.leads())
        self.wait_until_all_are_there(heir)
        eventually("it follows the other one", lambda: leader.follows() == heir.name, 5)
        return took

    def go_live(self):
        """Starts all nodes, and through the coordinator that stands by a broadcast with a ladder and a restream; returns when all of it runs."""
        start_together(self.nodes)
        leader = self.leader()
        standby = self.other(leader)
        eventually("the other one follows", lambda: standby.follows() == leader.name, 5)
        for node in (leader, standby):
            self.wait_for_standbys(node, 1)
            eventually("all members of etcd serve it", lambda node=node: all(self.member_up(node, i) == 1 for i in range(3)), 10)
        self.wait_until_all_are_there(leader)
        type(self).show = standby.add_stream("show")
        type(self).hls = standby.add_hls(self.show)
        self.assertEqual(leader.task(self.hls)["id"], self.hls)
        type(self).camera = Encoder(self.media, "show", self.show.key, insists=True)
        self.addClassCleanup(self.camera.stop)
        wait_until_playable(self.media, "show", 60)
        leader.wait_for_task(self.hls, "running", 20)
        out = standby.add_stream("out")
        type(self).push = standby.add_task(self.show, "restream", {"url": self.media.publish_url(out.name, out.key)})
        leader.wait_for_task(self.push, "running", 20)
        out.wait_for_phase("live", 20)

    def test_1_one_leads_and_both_answer(self):
        self.go_live()

    def test_2_a_member_of_etcd_is_killed(self):
        """Nothing happens."""
        leader = self.leader()
        before, term = self.runs_of(leader), leader.term()
        for i in range(3):
            self.etcd.kill(i)
            for n in range(3):
                leader.add_stream(f"without-{i}-{n}")
            until = time.monotonic() + 6  # longer than the key lives
            for node in (leader, self.other(leader)):
                eventually("it is missed", lambda i=i, node=node: [self.member_up(node, n) for n in range(3)] == [float(n != i) for n in range(3)], 10)
            eventually("the key was renewed without the member", lambda until=until: leader.leads() and time.monotonic() > until, 10)
            self.etcd.start(i)
            eventually("the member is back", lambda i=i: fetch(self.etcd.clients[i] + "/health", timeout=3).status == 200, 30)
            eventually("it serves again", lambda i=i: self.member_up(leader, i) == 1, 10)
        self.assertEqual((self.runs_of(leader), leader.term()), (before, term))
        self.assertFalse(self.other(leader).leads())

    def test_3_the_leader_is_killed(self):
        self.kill_the_leader()

    def test_4_the_leader_hangs_and_wakes(self):
        """SIGSTOP for 12 s: when it wakes up it is no leader any more, says so, and stands by."""
        leader = self.leader()
        heir = self.other(leader)
        self.addCleanup(lambda: leader.pause(False))
        began = time.monotonic()
        took = self.take_over(leader, lambda: leader.pause(True))
        sys.stderr.write(f"leader hung: the other one coordinates after {took:.1f} s\n")
        before, term = self.runs_of(heir), heir.term()
        eventually("12 s are over", lambda: time.monotonic() - began > 12, 15)
        log = len(leader.log())
        leader.pause(False)
        late = leader.call("POST", "/api/v1/streams", {"name": "late"})
        if late.status == 201:  # it went to the leader: then that one has it
            self.assertEqual(heir.get(f"/api/v1/streams/{late.json['id']}")["name"], "late")
        eventually("it stands by", lambda: leader.follows() == heir.name and not leader.leads(), 15)
        self.assertIn(" seat stands-by", leader.log()[log:])
        self.assertEqual(heir.term(), term)
        self.wait_until_all_are_there(heir)
        self.assertEqual(self.runs_of(heir), before)
        self.assertEqual({s["name"] for s in leader.items("/api/v1/streams")}, {s["name"] for s in heir.items("/api/v1/streams")})

    def test_5_the_leader_and_the_leader_of_etcd_are_killed_at_once(self):
        """Nobody can be elected until etcd has a leader again: both have to fit into the time."""
        leader, member = self.leader(), self.etcd.leader()

        def lose():
            os.kill(leader.process.pid, signal.SIGKILL)
            os.kill(self.etcd.members[member].pid, signal.SIGKILL)
            leader.kill()  # both are dying: these wait for it
            self.etcd.kill(member)

        took = self.take_over(leader, lose, TAKE_OVER + 2)  # two members that both stand at first elect nobody, and try again
        sys.stderr.write(f"leader and leader of etcd killed: the other one coordinates after {took:.1f} s\n")
        self.etcd.start(member)
        eventually("the member is back", lambda: fetch(self.etcd.clients[member] + "/health", timeout=3).status == 200, 30)
        leader.start()
        self.wait_until_all_are_there(self.other(leader))
        eventually("the other one follows", lambda: leader.follows() == self.other(leader).name, 5)

    def test_6_etcd_is_lost_and_comes_back(self):
        """Without a majority nobody coordinates and nothing that runs ends; with one again somebody does."""
        leader = self.leader()
        before = self.runs_of(leader)
        self.etcd.kill(0)
        self.etcd.kill(1)
        eventually("nobody coordinates", lambda: not self.c1.leads() and not self.c2.leads(), 8)
        self.assertEqual(leader.call("POST", "/api/v1/streams", {"name": "nowhere"}).status, 503)
        self.etcd.start(0)
        self.etcd.start(1)
        leader = self.leader(40)
        self.wait_until_all_are_there(leader)
        eventually("the same processes go on", lambda: self.runs_of(leader) == before, 20)

    def test_7_a_clean_end_hands_over_at_once(self):
        leader = self.leader()
        heir = self.other(leader)
        self.assertLessEqual(leader.stop(), 10)
        left = time.monotonic()
        eventually("the other one coordinates", heir.leads, 5, every=0.05)
        sys.stderr.write(f"leader stopped: the other one coordinates after {time.monotonic() - left:.1f} s\n")
        self.wait_until_all_are_there(heir)  # who is just dialling leaks CAF's half of a TLS session at its end
        for node in (self.w1, self.media, heir):
            self.assertLessEqual(node.stop(), 10, node.name)


if __name__ == "__main__":
    main()
