"""The network between the nodes is cut, in both directions and in one, and mended again (issue 3). Workers live in network namespaces of their own."""

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


if __name__ == "__main__":
    main()
