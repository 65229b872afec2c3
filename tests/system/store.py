"""kill -9 at any moment loses nothing that was acknowledged: issue 2, item 3. Restarts in a loop while two clients write."""

import http.client
import random
import sys
import threading
import time
import unittest

from weir_node import Node, eventually, main

ROUNDS = 12


class Writer(threading.Thread):
    """Creates and changes streams and tasks until the node dies, and remembers what was acknowledged."""

    def __init__(self, node, label, known):
        super().__init__(daemon=True)
        self.node, self.label, self.known = node, label, known
        self.unclear = set()  # asked for, but not answered: either outcome is right
        self.removed = set()
        self.refused = []
        self.acknowledged = 0

    def run(self):
        try:
            while True:
                self._step()
        except AssertionError as e:
            self.refused.append(e)
        except (OSError, http.client.HTTPException):
            pass  # the node died

    def _ask(self, method, path, body=None):
        answer = self.node.call(method, path, body)
        if answer.status not in (200, 201, 204):
            raise AssertionError(f"{method} {path}: {answer}")
        self.acknowledged += 1
        return answer.json if answer.body else None

    def _step(self):
        name = f"{self.label}-{self.acknowledged}-{time.monotonic_ns()}"
        stream = self._ask("POST", "/api/v1/streams", {"name": name})
        self.known[stream["id"]] = {"kind": "streams", "comment": "", "revision": 1}
        task = self._ask("POST", f"/api/v1/streams/{stream['id']}/tasks", {"type": "restream", "options": {"url": "rtmp://127.0.0.1:1/app/key"}})
        self.known[task["id"]] = {"kind": "tasks", "comment": "", "revision": 1}
        for id in random.sample(list(self.known), min(2, len(self.known))):
            about = self.known[id]
            comment = f"change {time.monotonic_ns()}"
            self.unclear.add(id)
            shown = self._ask("PATCH", f"/api/v1/{about['kind']}/{id}", {"comment": comment})
            self.unclear.discard(id)
            about.update(comment=comment, revision=shown["revision"])
        if random.random() < 0.2:
            pair = {stream["id"], task["id"]}
            self.unclear |= pair
            self._ask("DELETE", f"/api/v1/streams/{stream['id']}")
            self.unclear -= pair
            self.removed |= pair
            for id in pair:
                del self.known[id]


class Store(unittest.TestCase):
    writers = ()  # of the round before

    def test_nothing_acknowledged_is_lost(self):
        node = Node(roles=["coordinator"])
        self.addCleanup(node.remove)
        known = [{}, {}]
        acknowledged = 0
        last_event = last_epoch = 0
        for round in range(ROUNDS):
            node.start()
            with self.subTest(round=round):
                self._compare(node, known)
                events = node.events()
                self.assertGreater(events[-1]["number"], last_event, "event numbers never come again")
                last_event = events[-1]["number"]
                epoch = node.actors("coordinator")[0]["status"]["next_epoch"]
                self.assertGreaterEqual(epoch, last_epoch)
                last_epoch = epoch
            writers = [Writer(node, f"w{i}-{round}", known[i]) for i in range(2)]
            for w in writers:
                w.start()
            eventually("some writes", lambda: all(w.acknowledged >= 5 for w in writers), 20, every=0.02)
            until = time.monotonic() + random.uniform(0, 0.4)  # any moment will do
            eventually("the moment", lambda: time.monotonic() > until, 2, every=0.005)
            node.kill()
            for w in writers:
                w.join(15)
                self.assertFalse(w.is_alive())
                self.assertEqual(w.refused, [])
                acknowledged += w.acknowledged
            self.writers = writers
        node.start()
        self._compare(node, known)
        node.stop()
        print(f"{ROUNDS} kills, {acknowledged} acknowledged writes", file=sys.stderr)

    def _compare(self, node, known):
        """Everything acknowledged is there; what had no answer may be there or not, but whole."""
        there = {x["id"]: x for kind in ("streams", "tasks") for x in node.items(f"/api/v1/{kind}")}
        unclear = set().union(*(w.unclear for w in self.writers))
        for one in known:
            for id, wanted in list(one.items()):
                if id in unclear:
                    if id in there:
                        one[id].update(comment=there[id]["comment"], revision=there[id]["revision"])
                    else:
                        one.pop(id)
                    continue
                self.assertIn(id, there, f"{wanted} is lost")
                self.assertEqual((there[id]["comment"], there[id]["revision"]), (wanted["comment"], wanted["revision"]))
        for w in self.writers:
            self.assertEqual(w.removed & set(there), set(), "what was removed stays removed")
        streams = {x["id"] for x in there.values() if "stream_id" not in x}
        self.assertEqual([x["id"] for x in there.values() if x.get("stream_id", x["id"]) not in streams], [], "no task without its stream")


if __name__ == "__main__":
    main()
