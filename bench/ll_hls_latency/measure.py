"""How old a low-latency stream's pictures are when a real browser shows them, through an edge: each carries the time at which it was made (media.md 5.2)."""

import contextlib
import os
import sys
import tempfile

from measuring import ROOT, BenchFailed, line, rounded, say

sys.path.insert(0, os.path.join(ROOT, "tests/browser"))
import playback  # puts tests/system on the path
import weir_node
from time_code import TimedCamera, percentile

PARTS = {"ll_hls_latency": "333ms", "ll_hls_latency_200": "200ms"}
CASES = {case: f"seconds from the making of a picture to its showing in Chromium with hls.js, 95 of 100, parts of {part}; no peer" for case, part in PARTS.items()}
TARGETS = ["weir"]

LADDER = {"name": "timed", "rungs": [{"name": "360p", "height": 360, "video": "1M"}], "audio": "64k", "preset": "superfast"}
SETTLES = 20  # seconds until the player stands where it stays


@contextlib.contextmanager
def timed_broadcast(part, **sections):
    """A node with the low-latency stream "show", whose pictures carry their time. Gives the node, its task, and a viewer of `weir_node`."""
    node = weir_node.Node(log={"level": "warn", "format": "text"}, ladders=[LADDER, weir_node.SMALL_LADDER], **sections)
    try:
        node.start()
        stream = node.add_stream("show")
        task = node.add_task(stream, "hls", {"ladder": "timed", "profile": "low_latency", "part": part})
        camera = TimedCamera(node, "show", stream.key)
        try:
            yield node, task, weir_node.wait_until_playable(node, "show", 60)
        finally:
            camera.stop()
        node.stop()
    finally:
        node.remove()


@contextlib.contextmanager
def watching(node):
    """Chromium on our page of "show": it plays."""
    with tempfile.TemporaryDirectory() as folder:
        page = playback.Script("latency.mjs", f"{node.url}/watch/show", folder)
        try:
            page.wait_for("ready", 60)
            yield page
        finally:
            page.stop()


def measure(names, settings):
    weir_node.PROGRAM = settings.program("apps/weir/weir")
    seconds = 60 if settings.quick else 600
    for case in names:
        say(f"{case}: {seconds} s")
        with timed_broadcast(PARTS[case], edge={"instances": 1}) as (node, _, _), watching(node) as page:
            weir_node.eventually("it has been watched", lambda: len(page.said("readings")) >= SETTLES + seconds, SETTLES + seconds + 30, every=1)
            read = page.said("readings")[SETTLES:SETTLES + seconds]
            if complaints := page.said("complaint"):
                raise BenchFailed(f"the page complains: {complaints[0]}")
        ages = [age / 1000 for r in read for age in r["ages"]]
        yield line(case, "seconds", "lower", [percentile(ages, 0.95)], None, None, p5=rounded(percentile(ages, 0.05)), p50=rounded(percentile(ages, 0.5)), worst=rounded(max(ages)),
                   readings=len(ages), bad=sum(r["bad"] for r in read), stalls=read[-1]["stalls"] - read[0]["stalls"], dropped=read[-1]["droppedFrames"] - read[0]["droppedFrames"],
                   seconds=seconds, part=PARTS[case], source="640x360, 30 fps, x264 ultrafast zerolatency", rungs=1)
