"""The disk under a whole node runs full while it broadcasts, and is emptied again: nothing ends, nothing is acknowledged that is not kept."""

import contextlib
import os
import subprocess
import sys
import time
import unittest

from weir_node import Encoder, Node, NodeCase, eventually, fetch, main, wait_until_playable, watched

TARGET = 2          # seconds: the profile short
DISK = 48 << 20     # bytes


class Disk(NodeCase):
    @classmethod
    def setUpClass(cls):
        cls.node = node = Node(coordinator={"publish_grace": "10s"}, edge={"cache_dir": "/tmp", "instances": 1})
        os.mkdir(node.data, 0o700)
        cls.addClassCleanup(node.remove)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "weir-disk", node.data], stderr=subprocess.PIPE, text=True, check=False)
        if mounted.returncode != 0:
            raise unittest.SkipTest(f"a disk of its own cannot be mounted here: {mounted.stderr.strip()}")
        cls.addClassCleanup(subprocess.run, ["umount", "-l", node.data], check=False)
        node.start()

    def fill(self):
        """Takes every byte that is left; returns the file that holds them."""
        path = os.path.join(self.node.data, "filler")
        with open(path, "wb", buffering=0) as f, contextlib.suppress(OSError):
            while True:
                f.write(b"x" * 4096)
        return path

    def test_a_full_disk_ends_nothing(self):
        node = self.node
        stream = node.add_stream("show")
        task = node.add_hls(stream)
        encoder = Encoder(node, "show", stream.key, insists=True)
        self.addCleanup(encoder.stop)
        wait_until_playable(node, "show", 60)
        made = ["show"]
        with watched(node, "show", TARGET, without=("P6", "transport"), stall=10) as (follower, _):  # it is full for so long
            first = follower.newest()
            eventually("it runs steadily", lambda: follower.newest() >= first + 2, 10 * TARGET)
            filler = self.fill()
            refused = 0
            until = time.monotonic() + 10
            while time.monotonic() < until: # it stays full: whatever the node lets go of is taken again
                with open(filler, "ab", buffering=0) as f, contextlib.suppress(OSError):
                    while f.write(b"x" * 512):
                        pass
                name = f"full{len(made) + refused}"
                # The store has room of its own set aside, so it may well take the change; then it has to keep it.
                answer = node.call("POST", "/api/v1/streams", {"name": name}, timeout=5)
                if answer.status == 201:
                    made.append(name)
                else:
                    self.assertGreaterEqual(answer.status, 500)
                    self.assertTrue(answer.json["detail"])
                    refused += 1
                self.assertEqual(node.call("GET", "/api/v1/streams", timeout=5).status, 200)
                self.assertEqual(fetch(node.url + "/livez", timeout=5).status, 200)
                self.assertIsNone(node.process.poll(), "the node goes on")
                time.sleep(0.25)
            self.assertIn("No space left on device", node.log(), "the disk was really full")
            os.remove(filler)
            freed = time.monotonic()
            eventually("segments come again", lambda: [e for e in follower.media_since(freed)], 12 * TARGET)
            took = time.monotonic() - freed
            newest = follower.newest()
            eventually("and go on", lambda: follower.newest() >= newest + 3, 10 * TARGET)
        sys.stderr.write(f"{refused} changes refused; a new segment {took:.1f} s after the disk had room again\n")
        self.assertEqual(follower.breaches, [])
        numbers = sorted(follower.seen)
        self.assertEqual(numbers, list(range(numbers[0], numbers[-1] + 1)))
        eventually("changes are taken again", lambda: node.call("POST", "/api/v1/streams", {"name": "after"}).status == 201, 10)
        made.append("after")
        self.assertEqual(node.task(task)["phase"], "running")
        with self.subTest("what was acknowledged is there after kill -9, and nothing else"):
            node.kill()
            node.wait_until_nothing_is_left(5)
            node.start()
            self.assertEqual(sorted(s["name"] for s in node.items("/api/v1/streams")), sorted(made))


if __name__ == "__main__":
    main()
