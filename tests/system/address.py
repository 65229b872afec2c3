"""The machine of an edge is gone, and another edge of its network answers at its address (hls.md 8.4, balancing.md A9).

    boss    everything but edges, on this side of a bridge      e1, e2, e3   edges, each a machine of its own on that bridge
"""

import contextlib
import http.client
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

from cluster import Member, weir
from network import BRIDGE, LAN, Network
from weir_node import PROGRAM, Encoder, Follower, HostWatch, LoggedCase, Player, eventually, fetch, free_ports, main, wait_until_playable

TARGET = 4       # seconds: the profile quick, whose hold-back is three of them
DETECTION = 3.5  # seconds until the coordinator knows: balancing.md A8, and a busy machine
TAKE_OVER = 3    # seconds more, at most: T_take of hls.md 8.4


def shared(n):
    """The address of the n-th edge, counted from 0."""
    return f"{LAN}.{101 + n}"


def mac_of(namespace):
    with os.popen(f"ip netns exec {namespace} cat /sys/class/net/eth0/address") as answer:
        return answer.read().strip()


class PatientPlayer(Player):
    """Has one pathway, and stays with an address for as long as hls.js does by itself."""

    PATIENCE = 10  # seconds to the first byte

    def __init__(self, viewer, target):
        super().__init__(viewer, target)
        self.waited = []  # (seconds, address)

    def _fetch(self, url):
        began = time.monotonic()
        body = super()._fetch(url)
        if body is not None:
            self.waited.append((time.monotonic() - began, url))
        return body

    def _fetch_backup(self, msn):
        return None


class Answers(threading.Thread):
    """Asks each 50 ms by ARP who has some addresses, as any host of the network does, and keeps who answered."""

    ARP = 0x0806
    EVERY = 0.05

    def __init__(self, addresses):
        super().__init__(daemon=True)
        self.addresses = addresses
        self.by = {a: [] for a in addresses}  # address → (moment, {hardware addresses that answered one question})
        self._done = threading.Event()
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(self.ARP))
        self.socket.bind((BRIDGE, self.ARP))
        self.own = self.socket.getsockname()[4]

    def run(self):
        while not self._done.is_set():
            asked, seen = time.monotonic(), {a: set() for a in self.addresses}
            for address in self.addresses:
                question = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, self.own, socket.inet_aton(Network.HOST), bytes(6), socket.inet_aton(address))
                self.socket.send(b"\xff" * 6 + self.own + struct.pack("!H", self.ARP) + question)
            while (left := asked + self.EVERY - time.monotonic()) > 0:
                if not select.select([self.socket], [], [], left)[0]:
                    break
                frame = self.socket.recv(128)
                operation, sender, address = struct.unpack("!H6s4s", frame[20:32])
                if operation == 2 and (address := socket.inet_ntoa(address)) in seen:
                    seen[address].add(":".join(f"{byte:02x}" for byte in sender))
            for address, who in seen.items():
                self.by[address].append((asked, who))

    def now(self, address):
        """Who answered the last question that was answered at all; "" while nobody has within half a second."""
        late = [who for at, who in self.by[address][-10:] if who]
        return next(iter(late[-1])) if late else ""

    def first_after(self, moment, address, who):
        return next((at for at, seen in list(self.by[address]) if at > moment and who in seen), None)

    def doubles(self):
        return [(address, at, who) for address, all_ in self.by.items() for at, who in list(all_) if len(who) > 1]

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self.join(5)
        self.socket.close()


class SharedAddresses(Network, LoggedCase):
    LOG_LINES = 80

    @classmethod
    def setUpClass(cls):
        cls.make_network(3)
        folder = tempfile.TemporaryDirectory(prefix="weir-ca-")
        cls.addClassCleanup(folder.cleanup)
        Member.authority = os.path.join(folder.name, "ca")
        weir("cluster", "init-ca", "--dir", Member.authority, "--name", "hall")
        weir("cluster", "issue", "--dir", Member.authority, "boss", "e1", "e2", "e3")
        cls.port = free_ports(1)
        door = f"{cls.HOST}:{free_ports(1)}"
        cls.boss = Member("boss", ["coordinator", "ingest", "worker", "origin", "director"], door, listens=True, host=cls.HOST, origin={"profile": "quick"},
                          hooks={"allow": [cls.NETWORK]}, ingest={"play_allow": [cls.NETWORK]}, director={"trusted_proxies": [cls.NETWORK], "concentrate": False})
        cls.cached = []
        for n in range(3):
            edge = {"instances": 1, "listen_host": "0.0.0.0", "first_port": cls.port, "shared_address": {"address": f"{shared(n)}/24", "interface": "eth0"}}
            cls.cached.append(Member(f"e{n + 1}", ["edge"], door, edge=edge, **cls.place(n)))
        cls.nodes = [cls.boss, *cls.cached]
        for node in cls.nodes:
            cls.addClassCleanup(node.remove)
            node.launch()
        for node in cls.nodes:
            node.wait_until_ready()
        cls.macs = [mac_of(node.namespace) for node in cls.cached]
        cls.show = cls.boss.add_stream("show")
        cls.boss.add_hls(cls.show, profile="quick")
        camera = Encoder(cls.boss, "show", cls.show.key)
        cls.addClassCleanup(camera.stop)
        cls.answers = Answers([shared(n) for n in range(3)])
        cls.answers.start()
        cls.addClassCleanup(cls.answers.__exit__)

    def edges(self):
        return {e["name"]: e for e in self.boss.items("/api/v1/edges")}

    def phase(self, n):
        return self.edges()[f"e{n + 1}-1"]["phase"]

    def addresses_of(self, n):
        with os.popen(f"ip netns exec {self.cached[n].namespace} ip -4 -o addr show dev eth0") as answer:
            return {line.split()[3].split("/")[0] for line in answer} - {self.cached[n].host}

    def kinds(self, n):
        return [e["kind"] for e in self.boss.events() if e["subject"] == f"edge/e{n + 1}-1"]

    def test_1_each_has_its_own(self):
        eventually("all serve", lambda: {self.phase(n) for n in range(3)} == {"serving"}, 30)
        for n in range(3):
            self.assertEqual(self.addresses_of(n), {shared(n)})
            eventually("it answers there", lambda n=n: self.answers.now(shared(n)) == self.macs[n], 5)
            shown = self.edges()[f"e{n + 1}-1"]
            self.assertEqual((shown["url"], shown["address"], shown["address_trouble"]), (f"http://{shared(n)}:{self.port}", f"{shared(n)}/24", ""))

    def test_2_nobody_who_watches_notices_that_a_machine_is_gone(self):
        viewer = wait_until_playable(self.boss, "show", 40)
        eventually("enough is listed for the hold-back", lambda: sum(e.duration for e in viewer.playlist().media) >= 4 * TARGET, 10 * TARGET)
        with HostWatch() as host, Follower(viewer) as follower, PatientPlayer(viewer, TARGET) as player:
            eventually("the first list", lambda: follower.seen, 5)
            eventually("its buffer is full", lambda: player.newest() >= follower.newest(), 15)
            edge_of = lambda entry: urllib.parse.urlsplit(entry.uri).hostname
            before = follower.newest()
            eventually("a new segment", lambda: follower.newest() > before, 2 * TARGET)
            listed, at = follower.seen[follower.newest()]
            lost = [shared(n) for n in range(3)].index(edge_of(listed))
            time.sleep(max(at + 0.75 * TARGET - time.monotonic(), 0))  # so that one is listed there before anybody can know, and must be fetched
            type(self).lost = lost
            self.plug(self.cached[lost], "down")
            died = time.monotonic()
            newcomer = self.fetch_in_background(listed.uri)
            eventually("another machine answers", lambda: (who := self.answers.now(shared(lost))) and who != self.macs[lost], DETECTION + TAKE_OVER)
            heir = self.macs.index(self.answers.now(shared(lost)))
            took = self.answers.first_after(died, shared(lost), self.macs[heir]) - died
            type(self).heir = heir
            dead_entry = lambda: next((e for e in follower.media_since(died) if edge_of(e) == shared(lost)), None)
            eventually("new segments are elsewhere", lambda: edge_of(follower.seen[follower.newest()][0]) != shared(lost), 10)
            eventually("they are played", lambda: player.newest() >= follower.newest(), 3 * TARGET)
            newcomer.join(15)
        longest = max(player.waited, default=(0, ""))
        sys.stderr.write(f"edge lost: its address answered by another machine after {took:.1f} s; a viewer waited for a segment for {longest[0]:.1f} s, "
                         f"another one for {newcomer.took:.1f} s; this machine stood still for {host.longest:.2f} s\n")
        self.assertTrue(dead_entry(), "something was listed there when it was dead already")
        self.assertIn(dead_entry().msn, player.got)
        self.assertEqual(edge_of(player.got[dead_entry().msn][1]), shared(lost), "fetched at the address that was listed")
        self.assertEqual(player.failures, [])
        self.assertEqual(player.stalls, [], player.levels)
        self.assertEqual(follower.breaches, [])
        self.assertEqual(newcomer.status, 200)
        self.assertLess(took, DETECTION + TAKE_OVER)
        self.assertEqual(self.kinds(heir)[-1], "address-taken")
        self.assertEqual(self.edges()[f"e{heir + 1}-1"]["answers_for"], [f"e{lost + 1}-1"])
        explained = subprocess.run([PROGRAM, "edge", "list", "--explain", "--server", self.boss.url, "--token", self.boss.token], stdout=subprocess.PIPE, check=True, text=True).stdout
        self.assertIn(f"e{heir + 1}-1 answers at the address of e{lost + 1}-1.", explained)
        self.assertEqual(self.phase(lost), "dead", "another one answers for it: that is not its life")
        other = 3 - lost - heir
        self.assertEqual(self.addresses_of(other), {shared(other)}, "one answers for it, not two")
        self.assertEqual(self.addresses_of(lost), set(), "without a cable it has no address")

    def fetch_in_background(self, url):
        class Fetch(threading.Thread):
            status, took = None, 0.0

            def run(self):
                began = time.monotonic()
                with contextlib.suppress(OSError, http.client.HTTPException):
                    self.status = fetch(url, timeout=12).status
                self.took = time.monotonic() - began

        thread = Fetch(daemon=True)
        thread.start()
        return thread

    def test_3_it_gets_its_address_back(self):
        self.plug(self.cached[self.lost], "up")
        mended = time.monotonic()
        eventually("it answers itself", lambda: self.answers.now(shared(self.lost)) == self.macs[self.lost], 15)
        sys.stderr.write(f"its cable was plugged in: it has its address back after {time.monotonic() - mended:.1f} s\n")
        eventually("it serves", lambda: self.phase(self.lost) == "serving", 15)
        self.assertEqual(self.addresses_of(self.heir), {shared(self.heir)})
        self.assertEqual(self.kinds(self.heir)[-1], "address-given-back")
        self.assertEqual(self.kinds(self.heir).count("address-taken"), 1)
        self.assertEqual(self.answers.doubles(), [], "no two machines have ever answered for one address")

    def test_4_a_stop_leaves_nothing(self):
        self.cached[self.lost].kill()
        self.cached[self.lost].wait_until_nothing_is_left(10)
        self.assertEqual(self.addresses_of(self.lost), {shared(self.lost)}, "kill -9 leaves it there: connections are refused at once")
        self.cached[self.lost].start()
        eventually("it has its address", lambda: self.addresses_of(self.lost) == {shared(self.lost)} and self.answers.now(shared(self.lost)) == self.macs[self.lost], 10)
        self.assertIn("left-addresses", self.cached[self.lost].log())
        for node in reversed(self.nodes):
            self.assertLessEqual(node.stop(), 10, node.name)
        for n in range(3):
            self.assertEqual(self.addresses_of(n), set())


if __name__ == "__main__":
    main()
