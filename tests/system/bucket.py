"""A node whose segments lie in a bucket of a real S3 server (Swift with s3api): killed, it goes on where it was; then another machine has the bucket."""

import os
import subprocess
import sys
import tempfile

from weir_node import Encoder, LoggedCase, Node, Viewer, _end_session, _spawn, eventually, main, wait_until_playable

SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration", "origin", "s3_server.py")
TARGET = 2  # seconds: the profile short


class Bucket(LoggedCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="weir-s3-", ignore_cleanup_errors=True)
        cls.addClassCleanup(folder.cleanup)
        # Not this python3: the package's modules are the system's.
        cls.server = _spawn(["/usr/bin/python3", "-B", SERVER, folder.name], stdout=subprocess.PIPE)
        cls.addClassCleanup(cls.server.stdout.close)
        cls.addClassCleanup(cls.server.wait, 10)
        cls.addClassCleanup(_end_session, cls.server.pid)
        port = int(cls.server.stdout.readline() or 0)
        assert port, "the S3 server did not start: is the package python3-swift there?"
        cls.credentials = os.path.join(folder.name, "credentials")
        with open(os.open(cls.credentials, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as f:
            f.write("weir:test\nsesame-of-weir\n")
        bucket = {"endpoint": f"http://127.0.0.1:{port}", "bucket": "live", "prefix": "studio/one", "credentials": cls.credentials}
        cls.first, cls.second = (Node(node={"name": name}, edge={"instances": 1}, origin={"store": "s3", "s3": bucket}) for name in ("first", "second"))
        cls.nodes = [cls.first, cls.second]
        for node in cls.nodes:
            cls.addClassCleanup(node.remove)
        cls.first.start()

    def state(self, node):
        return node.actors("origin")[0]["status"]["streams"]["show"]

    def broadcast(self, node):
        stream = node.add_stream("show")
        node.add_hls(stream)
        camera = Encoder(node, "show", stream.key, insists=True)
        self.addCleanup(camera.stop)
        return stream

    def listed(self, node):
        return [e.msn for e in Viewer(node, "show").playlist().media]

    def test_1_it_goes_on_after_kill_9_and_another_machine_goes_on_with_its_bucket(self):
        first, second = self.first, self.second
        self.broadcast(first)
        wait_until_playable(first, "show", 60)
        eventually("enough is listed", lambda: len(self.listed(first)) >= 6, 20 * TARGET)
        self.assertFalse(os.path.exists(os.path.join(first.data, "origin")), "nothing is kept on its disk")
        before = self.state(first)
        first.kill()
        first.wait_until_nothing_is_left(5)
        first.start()
        wait_until_playable(first, "show", 60)
        after = self.state(first)
        self.assertEqual(after["instance"], before["instance"], "the same time line")
        self.assertGreaterEqual(after["next_msn"], before["next_msn"])
        newest = self.listed(first)[-1]
        eventually("it goes on", lambda: self.listed(first)[-1] >= newest + 3, 20 * TARGET)

        before = self.state(first)
        second.start()  # while the first one is still there
        eventually("the former one is fenced", lambda: first.actors("origin")[0]["status"]["ousted"], 20 * TARGET)
        self.assertIn("store-claimed-by-another", first.log())
        after = self.state(second)
        self.assertEqual(after["instance"], before["instance"])
        self.assertGreaterEqual(after["next_msn"], before["next_msn"])
        self.broadcast(second)
        wait_until_playable(second, "show", 60)
        newest = self.listed(second)[-1]
        eventually("its numbers go on", lambda: self.listed(second)[-1] >= max(newest, before["next_msn"]) + 2, 20 * TARGET)
        for node in self.nodes:
            self.assertNotIn("sesame", node.log(), "a secret in the log")
        sys.stderr.write(f"msn {before['next_msn']} → {self.state(second)['next_msn']}\n")
        second.stop()


if __name__ == "__main__":
    main()
