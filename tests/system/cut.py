"""The network between the nodes is cut, in both directions and in one, and mended again (issue 3). Workers live in network namespaces of their own."""

import os
import subprocess
import sys
import unittest

from cluster import ClusterCase, Member
from weir_node import eventually, main


LAN = f"10.{90 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
BRIDGE = f"weir{os.getpid() % 100000}"


def ip(*words, **how):
    return subprocess.run(["ip", *words], stderr=subprocess.PIPE, text=True, check=how.get("check", True))


class Network:
    """For a class of tests: a bridge, and namespaces that hang on it by a cable each. `HOST` is this side's address."""

    HOST, NETWORK = f"{LAN}.1", f"{LAN}.0/24"

    @staticmethod
    def place(n):
        """What puts a node into the n-th namespace, counted from 0."""
        return {"host": f"{LAN}.{n + 2}", "namespace": f"{BRIDGE}-{n + 1}"}

    @classmethod
    def make_network(cls, spaces):
        try:
            ip("link", "add", BRIDGE, "type", "bridge")
            cls.addClassCleanup(ip, "link", "del", BRIDGE, check=False)
            ip("addr", "add", f"{cls.HOST}/24", "dev", BRIDGE)
            ip("link", "set", BRIDGE, "up")
            for n in range(spaces):
                space = cls.place(n)["namespace"]
                ip("netns", "add", space)
                cls.addClassCleanup(ip, "netns", "del", space, check=False)
                ip("link", "add", f"{BRIDGE}v{n + 1}", "type", "veth", "peer", "name", "eth0", "netns", space)
                ip("link", "set", f"{BRIDGE}v{n + 1}", "master", BRIDGE, "up")
                ip("-n", space, "addr", "add", f"{cls.place(n)['host']}/24", "dev", "eth0")
                ip("-n", space, "link", "set", "eth0", "up")
                ip("-n", space, "link", "set", "lo", "up")
            ip("netns", "exec", cls.place(0)["namespace"], "true")
        except subprocess.CalledProcessError as e:
            raise unittest.SkipTest(f"networks cannot be made here: {e.stderr.strip()}") from None

    @staticmethod
    def plug(node, state):
        """The cable of a node: `up` or `down`."""
        ip("link", "set", node.namespace.replace("-", "v"), state)

    def mute(self, node, on):
        """What the node sends to this side is lost; it still hears."""
        ip("-n", node.namespace, "route", "add" if on else "del", "blackhole", f"{self.HOST}/32")


class Cut(Network, ClusterCase):
    WORKERS = (Network.place(0), Network.place(1))

    @classmethod
    def setUpClass(cls):
        cls.make_network(2)
        super().setUpClass()
        for node in cls.nodes:
            node.launch()
        for node in cls.nodes:
            node.wait_until_ready()
        cls.go_live()

    def test_1_both_directions(self):
        """The worker's restreams have ended by its own clock before they run elsewhere."""
        def cut(worker):
            self.plug(worker, "down")
            self.cut_off = worker

        took = self.fail_over(cut, lambda worker: self.plug(worker, "up"))
        self.assertLess(took, 10)
        if "type=restream" in self.cut_off.log():
            self.assertIn("lease-lost", self.cut_off.log())

    def test_2_what_it_sends_is_lost(self):
        """It hears the coordinator, but is not heard."""
        took = self.fail_over(lambda worker: self.mute(worker, True), lambda worker: self.mute(worker, False))
        self.assertLess(took, 10)

    def test_3_everybody_is_there_again(self):
        eventually("all are there", lambda: self.phases() == {n.name: "ready" for n in self.nodes}, 30)
        for node in reversed(self.nodes):
            self.assertLessEqual(node.stop(), 10, node.name)


if __name__ == "__main__":
    main()
