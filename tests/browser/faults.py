"""Edges break for viewers with hls.js (Weir's own page) and with Shaka (a page of an operator's own) who watch the same streams in each profile:
hls.md 14, gate 4. Each fault meets viewers of its own, who had no trouble before.

The page is to help itself: what it is denied stays denied. Shaka makes one variant of the two pathways and stays at its edge, so it gets by on
what hls.md 8.4 promises first: a name outlives its host, and after T_TAKE the address answers again. Connections that fell silent stay silent.
"""

import concurrent.futures
import http.server
import json
import os
import subprocess
import threading
import time
import urllib.parse

import playback  # puts tests/system on the path
from fault_proxy import FaultProxy
from playback import HERE, Script, say
from weir_node import Encoder, HostWatch, Node, NodeCase, eventually, free_ports, wait_until_playable

SHAKA = os.path.join(HERE, "../../web/node_modules/shaka-player/dist/shaka-player.hls.js")
T_TAKE = 3.0  # seconds

# Target duration and hold-back in seconds.
PROFILES = {"standard": (6, 18), "quick": (4, 12), "short": (2, 10)}
CONTAINERS = {"quick": "fmp4"}  # all others are MPEG-TS

# By profile: all of them where a buffer is shortest, elsewhere those that cost most of it. Each lane has one viewer with either player at a time.
LANES = [
    [("short", kind) for kind in ("404", "503", "delay", "cut", "reset", "silence", "hole")],
    [(profile, kind) for kind in ("503", "silence", "hole") for profile in ("standard", "quick")],
]

# What docs/3-operate.md tells operators who play with Shaka.
SHAKA_SETTINGS = {"streaming": {"bufferingGoal": 30, "retryParameters": {
    "maxAttempts": 10, "baseDelay": 500, "backoffFactor": 1, "fuzzFactor": 0.3, "connectionTimeout": 3000, "stallTimeout": 3000}}}


class ShakaSite:
    """A web site that is not Weir's, with one page that plays."""

    FILES = {"/shaka.html": ("text/html; charset=utf-8", os.path.join(HERE, "shaka.html")), "/shaka.js": ("text/javascript", SHAKA)}

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                type_, path = ShakaSite.FILES.get(urllib.parse.urlsplit(self.path).path, (None, None))
                if not path:
                    self.send_error(404)
                    return
                with open(path, "rb") as f:
                    body = f.read()
                self.send_response(200)
                self.send_header("Content-Type", type_)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def page(self, address):
        return f"http://127.0.0.1:{self.server.server_port}/shaka.html?" + urllib.parse.urlencode({"address": address, "settings": json.dumps(SHAKA_SETTINGS)})

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Outcome:
    """How one viewer got over one fault."""

    def __init__(self, fault, before, samples, came):
        first, last = samples[0], samples[-1]
        self.fault, self.came = fault, came
        self.buffered = before["buffered"]
        self.after = came.at - fault.hits[0][0]
        self.stalls = last["stalls"] - first["stalls"]
        self.seconds = last["at"] - first["at"]
        self.played = last["currentTime"] - first["currentTime"]
        self.least = min(s["buffered"] for s in samples)
        self.fatal = last["fatalErrors"]
        self.loads = len({s["loaded"] for s in samples})
        self.rungs = [rung for _, rung in fault.hits]

    def __str__(self):
        asked = ", ".join(f"{rung} after {at - self.fault.hits[0][0]:.1f} s" for at, rung in self.fault.hits[1:])
        edge = "the same" if self.came.edge == self.fault.edge else "the other"
        return (f"{self.fault.viewer}: {self.buffered:.1f} s buffered, {self.came.rung} came after {self.after:.1f} s from {edge} edge"
                f"{f' (asked again: {asked})' if asked else ''}, {self.stalls} stalls, {self.fatal} fatal errors, at least {self.least:.1f} s buffered")


class Faults(NodeCase):
    @classmethod
    def setUpClass(cls):
        port = free_ports(1)
        cls.node = node = Node(edge={"instances": 2, "public_url": f"http://127.0.0.1{{n}}:{port}"})
        cls.addClassCleanup(node.remove)
        cls.proxy = FaultProxy({f"127.0.0.1{n + 1}": ("127.0.0.1", node.edge_port + n) for n in range(2)}, port)
        cls.addClassCleanup(cls.proxy.stop)
        cls.site = ShakaSite()
        cls.addClassCleanup(cls.site.stop)
        node.start()
        try:
            for profile in PROFILES:
                stream = node.add_stream(profile)
                task = node.add_hls(stream, profile, CONTAINERS.get(profile, "ts"))
                camera = Encoder(node, profile, stream.key)
                cls.addClassCleanup(camera.stop)
                node.wait_for_task(task, "running", 30)  # one start at a time: sanitized ones are hard on two cores
            cls.viewers = Script("faults.mjs", stdin=subprocess.PIPE)
            cls.addClassCleanup(cls.viewers.stop)
            for profile in PROFILES:
                wait_until_playable(node, profile, 60)
        except BaseException:
            say(f"--- the node's log ---\n{node.log_tail()}")
            raise

    def address(self, player, profile):
        return f"{self.node.url}/watch/{profile}" if player == "page" else self.site.page(self.node.playback_url(profile))

    def meets(self, player, profile, kind):
        """One viewer, from its first picture until it has got over one fault."""
        target, hold_back = PROFILES[profile]
        name = f"{player}-{profile}-{kind}"
        samples = lambda since=0.0: [s for s in self.viewers.said("sample", page=name) if s["at"] >= since]
        last = lambda: (s := samples()) and s[-1]
        self.viewers.tell(open=name, url=self.address(player, profile))
        try:
            eventually(f"{name} has all that is listed", lambda: (s := last()) and s["state"] == "playing" and s["buffered"] >= hold_back - target / 2 - 1, 40, every=0.2)
            began = last()["at"]
            fault = self.proxy.arm(kind, name)
            eventually(f"{name} asks for a new segment", lambda: fault.hits, 3 * target, every=0.05)
            before = last()
            if player == "shaka":
                fault.lift_at(fault.hits[0][0] + T_TAKE)
            came = eventually(f"{name} gets {fault}", lambda: [d for d in self.proxy.deliveries(name) if d.msn == fault.msn], hold_back + target, every=0.1)[0]
            eventually(f"{name} goes on", lambda: [d for d in self.proxy.deliveries(name) if d.msn > fault.msn], 3 * target, every=0.1)
            until = time.time()
            eventually(f"{name} tells how it played", lambda: last()["at"] >= until, 10)
            return Outcome(fault, before, samples(began), came)
        finally:
            self.viewers.tell(close=name)

    def lane(self, player, faults):
        """Outcomes, or why there is none, one after the other."""
        found = {}
        for profile, kind in faults:
            try:
                outcome = self.meets(player, profile, kind)
            except AssertionError as e:
                outcome = e
            found[player, profile, kind] = outcome
            say(f"  {outcome}")
        return found

    def test_every_fault(self):
        with HostWatch() as host, concurrent.futures.ThreadPoolExecutor(2 * len(LANES)) as pool:
            lanes = [pool.submit(self.lane, player, faults) for faults in LANES for player in ("page", "shaka")]
            outcomes = {which: outcome for lane in lanes for which, outcome in lane.result().items()}
        say(f"  this machine stood still for {host.longest:.2f} s")
        self.assertEqual(len(outcomes), 2 * sum(map(len, LANES)))
        for (player, profile, kind), outcome in outcomes.items():
            with self.subTest(player=player, profile=profile, kind=kind):
                if isinstance(outcome, AssertionError):
                    raise outcome
                self.assert_row(player, kind, outcome)
        ours = [c for c in self.viewers.said("complaint") if c["what"] != "console" and c["page"].startswith("page-")]
        self.assertEqual(ours, [], "neither an exception nor a breach of the page's policy")

    def assert_row(self, player, kind, outcome):
        """What hls.md 8.4 says of this fault: with a buffer of the hold-back nobody notices."""
        self.assertEqual((outcome.stalls, outcome.fatal, outcome.loads), (0, 0, 1), outcome)
        self.assertGreaterEqual(outcome.played, 0.95 * outcome.seconds - 0.5, outcome)
        hits, other = len(outcome.rungs), outcome.came.edge != outcome.fault.edge
        if kind == "delay":
            self.assertFalse(other, f"a late edge is waited for: {outcome}")
        elif player == "page":
            self.assertTrue(other, f"the other pathway has it: {outcome}")
            if kind == "404":
                self.assertEqual(hits, len(set(outcome.rungs)), f"no retry: {outcome}")
            if kind == "503":
                self.assertLessEqual(hits, 4, f"two retries, and once at the other rung: {outcome}")
            if kind in ("silence", "hole"):
                self.assertEqual(hits, 1, f"a silent edge is left at once: {outcome}")


if __name__ == "__main__":
    playback.run()
