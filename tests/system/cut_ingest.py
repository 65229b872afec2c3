"""Redundancy when a cable is cut (issue 3): of the RTMP server in use, in both directions and in one, and of the encoder's machine.

    boss    coordinator      media   origin, director, edge      left, right   ingest, one copy of the broadcast each      w1, w2   workers

Every node but boss and media lives in a network namespace of its own. All tests go through one broadcast in order.
"""

import contextlib
import os
import tempfile

from cluster import Member, weir
from network import Network
from redundant import TARGET, RedundantCase
from weir_node import eventually, free_ports, main

LATE = 1.5  # seconds, at most: a copy is given up after one second of silence; half a second is for a sanitized program on a busy machine


class CutIngest(Network, RedundantCase):
    @classmethod
    def setUpClass(cls):
        cls.make_network(4)
        authority = tempfile.TemporaryDirectory(prefix="weir-ca-")
        cls.addClassCleanup(authority.cleanup)
        Member.authority = os.path.join(authority.name, "ca")
        weir("cluster", "init-ca", "--dir", Member.authority, "--name", "hall")
        weir("cluster", "issue", "--dir", Member.authority, "boss", "media", "left", "right", "w1", "w2")
        door = f"{cls.HOST}:{free_ports(1)}"
        cls.boss = Member("boss", ["coordinator"], door, listens=True, host=cls.HOST, coordinator={"publish_grace": "8s"})
        cls.media = Member("media", ["origin", "director", "edge"], door, host=cls.HOST)
        rtmp = {"hooks": {"allow": [cls.NETWORK]}, "ingest": {"play_allow": [cls.NETWORK]}}
        cls.left, cls.right = (Member(name, ["ingest"], door, **{k: dict(v) for k, v in rtmp.items()}, **cls.place(n)) for n, name in enumerate(("left", "right")))
        cls.w1, cls.w2 = (Member(name, ["worker"], door, worker={"cores": 4}, **cls.place(n)) for n, name in enumerate(("w1", "w2"), 2))
        cls.nodes = [cls.boss, cls.media, cls.left, cls.right, cls.w1, cls.w2]
        for node in cls.nodes:
            cls.addClassCleanup(node.remove)
        cls.go_live()

    def cut(self, node, break_it, mend_it):
        """What is cut is mended in whatever way the test ends."""
        self.mend = contextlib.ExitStack()
        self.addCleanup(self.mend.close)
        self.mend.callback(mend_it, node)
        break_it(node)

    def lose(self, break_it, mend_it, behind=0.0):
        self.lose_the_server_in_use(lambda n: self.cut(n, break_it, mend_it), lambda _: self.mend.close(), LATE, behind)

    # Each of the first four cuts the server in use, so that the next one goes over to the copy that came back: both are read again.

    def test_1_the_cable_of_the_server_in_use_is_cut(self):
        self.lose(lambda n: self.plug(n, "down"), lambda n: self.plug(n, "up"))

    def test_2_what_the_server_in_use_sends_is_lost(self):
        def mute(node, on):
            for to in (self.HOST, self.w1.host, self.w2.host):
                self.drop(node, to, on)

        self.lose(lambda n: mute(n, True), lambda n: mute(n, False))

    def test_3_what_is_sent_to_the_server_in_use_is_lost(self):
        """The coordinator and the workers hear it: it has the publisher on its list and nothing to give."""
        self.lose(lambda n: self.drop(None, n.host, True), lambda n: self.drop(None, n.host, False))

    def test_4_the_cable_is_cut_at_the_worst_moment(self):
        """Just before a segment is whole: whatever it takes to notice, the segment is late by as much."""
        self.lose(lambda n: self.plug(n, "down"), lambda n: self.plug(n, "up"), TARGET - 0.15)

    def test_5_the_cable_of_the_encoders_machine_is_cut(self):
        """Its standby goes on; when the cable is back, the former run is over and nobody works twice."""
        self.lose_the_encoders_machine(lambda n: self.cut(n, lambda n: self.plug(n, "down"), lambda n: self.plug(n, "up")), lambda _: self.mend.close())
        eventually("all are there", lambda: {n["name"]: n["phase"] for n in self.boss.items("/api/v1/nodes")} == {n.name: "ready" for n in self.nodes}, 30)


if __name__ == "__main__":
    main()
