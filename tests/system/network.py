"""A network of their own for the nodes of a test: a bridge, namespaces that hang on it by a cable each, and ways to cut it (issue 3)."""

import os
import subprocess
import unittest

LAN = f"10.{90 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
BRIDGE = f"weir{os.getpid() % 100000}"


def ip(*words, **how):
    return subprocess.run(["ip", *words], stderr=subprocess.PIPE, text=True, check=how.get("check", True))


class Network:
    """For a class of tests. `HOST` is this side's address. What is cut one way is cut by routes that lead nowhere: who sends it drops it."""

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
            cls.addClassCleanup(ip, "route", "flush", "type", "blackhole", "root", cls.NETWORK, check=False)
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

    @staticmethod
    def drop(sender, address, on, metric=0):
        """Whether what is sent to an address is lost; `sender`: a node, or None for this side. Cuts with different metrics may overlap."""
        inside = ["-n", sender.namespace] if sender else []
        ip(*inside, "route", "add" if on else "del", "blackhole", address, "metric", str(metric))

    def mute(self, node, on):
        """What the node sends to this side is lost; it still hears."""
        self.drop(node, self.HOST, on)
