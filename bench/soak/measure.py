"""Whether a node that broadcasts for an hour needs more memory at its end than at its beginning."""

import contextlib
import os
import sys
import tempfile
import threading
import time

from measuring import ROOT, BenchFailed, line, middle, resident, rounded, say

sys.path.insert(0, os.path.join(ROOT, "tests/browser"))
import playback  # puts tests/system on the path
import weir_node
from ll_hls_latency.measure import LADDER
from time_code import TimedCamera, percentile

CASES = {"soak": "MiB by which a node with all roles grows in an hour of low latency in Chromium, viewers and a publisher that come and go (no peer)"}
TARGETS = ["weir", "hls_watch"]

PART = "333ms"
SAMPLED_EACH = 5  # seconds
MIB = 1 << 20


class Comings(threading.Thread):
    """What is done again and again until `stop()`: a broadcast of its own, each time to its end."""

    def __init__(self, node, stream):
        super().__init__(daemon=True)
        self.node, self.stream, self.times = node, stream, 0
        self.failure = None
        self._done = threading.Event()

    def run(self):
        try:
            while not self._done.is_set():
                with weir_node.Encoder(self.node, "guest", self.stream.key):
                    weir_node.wait_until_playable(self.node, "guest", 60)
                    self._done.wait(15)
                self.stream.wait_for_phase("offline", 60)
                self.times += 1
        except (AssertionError, OSError) as e:
            self.failure = e

    def stop(self):
        self._done.set()
        self.join(90)


def memory(node, task):
    """Resident bytes of the node, of the one pipeline that runs all the time, and of all its nginx."""
    nginx = weir_node.processes(lambda p: p.session in node.sessions and p.command.startswith("nginx: "))
    return {"node": resident(node.process.pid), "transcoder": resident(node.pid_of_task(task)), "nginx": sum(resident(p.pid) for p in nginx)}


def grown(samples, kind):
    """Medians of the second tenth of the time and of the last one, in MiB: by the former, windows and caches are full."""
    tenth = max(1, len(samples) // 10)
    values = [s[kind] / MIB for s in samples]
    return middle(values[tenth:2 * tenth]), middle(values[-tenth:])


def measure(names, settings):
    weir_node.PROGRAM, weir_node.HLS_WATCH = settings.program("apps/weir/weir"), settings.program("tools/hls_watch/hls_watch")
    seconds = 240 if settings.quick else 3600
    node = weir_node.Node(log={"level": "warn", "format": "text"}, ladders=[LADDER, weir_node.SMALL_LADDER])
    try:
        node.start()
        with contextlib.ExitStack() as stack:
            show, guest = node.add_stream("show"), node.add_stream("guest")
            task = node.add_task(show, "hls", {"ladder": "timed", "profile": "low_latency", "part": PART})
            node.add_hls(guest)
            camera = TimedCamera(node, "show", show.key)
            stack.callback(camera.stop)
            weir_node.wait_until_playable(node, "show", 60)
            viewer = playback.Script("latency.mjs", f"{node.url}/watch/show", stack.enter_context(tempfile.TemporaryDirectory()))
            stack.callback(viewer.stop)
            viewer.wait_for("ready", 60)
            linter = stack.enter_context(weir_node.Linter(node, "show", variants=1))
            comings = Comings(node, guest)
            comings.start()
            stack.callback(comings.stop)
            samples, until = [], time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                time.sleep(min(left, SAMPLED_EACH))
                samples.append(memory(node, task))
                if len(samples) % (600 // SAMPLED_EACH) == 0:
                    say(f"soak: {len(samples) * SAMPLED_EACH} s of {seconds}: {({kind: round(bytes / MIB, 1) for kind, bytes in samples[-1].items()})}")
                if comings.failure or viewer.said("complaint"):
                    raise BenchFailed(str(comings.failure or viewer.said("complaint")[0]))
            read = viewer.said("readings")[-seconds:]
        node.stop()
    finally:
        node.remove()
    parts = {kind: grown(samples, kind) for kind in samples[0]}
    ages = [age / 1000 for r in read for age in r["ages"]]
    yield line("soak", "MiB", "lower", [sum(last - first for first, last in parts.values())], None, None,
               **{kind: [rounded(first), rounded(last)] for kind, (first, last) in parts.items()}, most={kind: rounded(max(s[kind] for s in samples) / MIB) for kind in parts},
               seconds=seconds, stalls=read[-1]["stalls"] - read[0]["stalls"], p95=rounded(percentile(ages, 0.95)), viewers=linter.viewers, findings=len(linter.findings),
               broadcasts=comings.times, part=PART)
