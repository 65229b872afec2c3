"""The network between the nodes is cut, in both directions and in one, and mended again (issue 3). Workers live in network namespaces of their own."""

import os
import subprocess
import sys
import unittest

from cluster import ClusterCase, Member
from weir_node import eventually, main


LAN = f"10.{90 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
BRIDGE = f"weir{os.getpid() % 100000}"
SPACES = [f"{BRIDGE}-{n}" for n in (1, 2)]


def ip(*words, **how):
    return subprocess.run(["ip", *words], stderr=subprocess.PIPE, text=True, check=how.get("check", True))


class Cut(ClusterCase):
    HOST, NETWORK = f"{LAN}.1", f"{LAN}.0/24"
    WORKERS = tuple({"host": f"{LAN}.{n}", "namespace": space} for n, space in enumerate(SPACES, 2))

    @classmethod
    def setUpClass(cls):
        try:
            cls.make_network()
        except subprocess.CalledProcessError as e:
            raise unittest.SkipTest(f"networks cannot be made here: {e.stderr.strip()}") from None
        super().setUpClass()
        for node in cls.nodes:
            node.launch()
        for node in cls.nodes:
            node.wait_until_ready()
        cls.go_live()

    @classmethod
    def make_network(cls):
        ip("link", "add", BRIDGE, "type", "bridge")
        cls.addClassCleanup(ip, "link", "del", BRIDGE, check=False)
        ip("addr", "add", f"{cls.HOST}/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for n, space in enumerate(SPACES, 1):
            ip("netns", "add", space)
            cls.addClassCleanup(ip, "netns", "del", space, check=False)
            ip("link", "add", f"{BRIDGE}v{n}", "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("link", "set", f"{BRIDGE}v{n}", "master", BRIDGE, "up")
            ip("-n", space, "addr", "add", f"{LAN}.{n + 1}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
            ip("-n", space, "link", "set", "lo", "up")
        ip("netns", "exec", SPACES[0], "true")

    def cable(self, worker):
        return f"{BRIDGE}v{SPACES.index(worker.namespace) + 1}"

    def test_1_both_directions(self):
        """The worker's restreams have ended by its own clock before they run elsewhere."""
        def cut(worker):
            ip("link", "set", self.cable(worker), "down")
            self.cut_off = worker

        took = self.fail_over(cut, lambda worker: ip("link", "set", self.cable(worker), "up"))
        self.assertLess(took, 10)
        if "type=restream" in self.cut_off.log():
            self.assertIn("lease-lost", self.cut_off.log())

    def test_2_what_it_sends_is_lost(self):
        """It hears the coordinator, but is not heard."""
        took = self.fail_over(lambda worker: ip("-n", worker.namespace, "route", "add", "blackhole", f"{self.HOST}/32"),
                              lambda worker: ip("-n", worker.namespace, "route", "del", "blackhole", f"{self.HOST}/32"))
        self.assertLess(took, 10)

    def test_3_everybody_is_there_again(self):
        eventually("all are there", lambda: self.phases() == {n.name: "ready" for n in self.nodes}, 30)
        for node in reversed(self.nodes):
            self.assertLessEqual(node.stop(), 10, node.name)


if __name__ == "__main__":
    main()
