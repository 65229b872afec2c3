"""The network between the nodes is cut, in both directions and in one, and mended again (issue 3). Workers live in network namespaces of their own,
or everybody who has to do with edges does."""

import time

from cluster import ClusterCase
from network import Network
from weir_node import eventually, main


class Cut(Network, ClusterCase):
    WORKERS = (Network.place(0), Network.place(1))

    @classmethod
    def setUpClass(cls):
        cls.make_network(2)
        super().setUpClass()
        cls.begin()

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


class CutFromTheCoordinator(Network, ClusterCase):
    """The coordinator and an edge do not reach each other; everybody else does (balancing.md 8.3)."""

    MEDIA, CACHE, SECURE = Network.place(0), Network.place(1), Network.place(2)

    @classmethod
    def setUpClass(cls):
        cls.make_network(3)
        super().setUpClass()
        cls.begin()

    def edge(self, node):
        return next(e for e in self.boss.items("/api/v1/edges") if e["node"] == node)

    def views(self, node):
        return {o["node"]: o["view"] for o in self.edge(node)["observers"]}

    def test_1_all_see_the_edge(self):
        """Also the one whose certificate only the coordinator's configuration trusts."""
        eventually("the edge is seen by all others", lambda: self.views("cache") == {"boss": "up", "media": "up", "secure": "up"}, 30)
        eventually("so is the one with TLS", lambda: self.views("secure") == {"boss": "up", "media": "up", "cache": "up"}, 10)

    def test_2_it_serves_on_because_the_others_see_it(self):
        told = lambda: [e for e in self.boss.events() if e["kind"] in ("edge-dead", "edge-suspect", "edge-serving") and "cache" in e["subject"]]
        before = told()
        self.drop(None, self.cache.host, True)
        cut = time.monotonic()
        try:
            eventually("the coordinator does not reach it", lambda: self.views("cache").get("boss") == "suspect", 8)
            while time.monotonic() - cut < 10:  # a verdict would have come within 3 s
                shown = self.edge("cache")
                self.assertEqual(shown["phase"], "serving", shown)
                self.assertEqual({view for node, view in self.views("cache").items() if node != "boss"}, {"up"})
                time.sleep(0.25)
            self.assertIn("boss sees", self.edge("cache")["last_error"], "an operator is told")
        finally:
            self.drop(None, self.cache.host, False)
        eventually("all see it again", lambda: set(self.views("cache").values()) == {"up"} and len(self.views("cache")) == 3, 20)
        self.assertEqual(told(), before, "nobody was sent elsewhere")


if __name__ == "__main__":
    main()
