"""A real Chromium watches low-latency HLS through an edge; each picture carries the time at which it was made. How fast it is, bench/ll_hls_latency measures."""

import os
import signal
import sys
import tempfile

import playback  # puts tests/system on the path
from time_code import TimedCamera, percentile
from weir_node import NodeCase, eventually, wait_until_playable

LADDER = {"name": "timed", "rungs": [{"name": "360p", "height": 360, "video": "1M"}, {"name": "180p", "height": 180, "video": "250k"}], "audio": "64k", "preset": "superfast"}
WATCHED_SECONDS = 30
HOLD_BACK = 12.0  # seconds: of players that do not know parts


class Latency(NodeCase):
    SECTIONS = {"edge": {"instances": 1}, "ladders": [LADDER]}
    PART = "500ms"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pictures = tempfile.mkdtemp(prefix="weir-pictures-")
        playback.say(f"pictures: {cls.pictures}")
        cls.stream = cls.node.add_stream("show", title="Main hall")
        cls.task = cls.node.add_task(cls.stream, "hls", {"ladder": "timed", "profile": "low_latency", "part": cls.PART})
        cls.camera = TimedCamera(cls.node, "show", cls.stream.key)
        cls.addClassCleanup(cls.camera.stop)
        try:
            wait_until_playable(cls.node, "show", 60)
            cls.viewer = playback.Script("latency.mjs", f"{cls.node.url}/watch/show", cls.pictures)
            cls.addClassCleanup(cls.viewer.stop)
            cls.viewer.wait_for("ready", 90)
        except BaseException:
            playback.say(f"--- the encoder ---\n{cls.camera.output()}\n--- the node's log ---\n{cls.node.log_tail()}")
            raise

    def watch_for(self, seconds):
        """What was read in the seconds that come."""
        before = len(self.viewer.said("readings"))
        eventually(f"{seconds} s have been watched", lambda: len(self.viewer.said("readings")) >= before + seconds, seconds + 20, every=0.5)
        return self.viewer.said("readings")[before:before + seconds]

    def test_1_is_far_nearer_to_live_than_without_parts(self):
        self.watch_for(5)  # it settles
        read = self.watch_for(WATCHED_SECONDS)
        if read[-1]["stalls"] > read[0]["stalls"]:
            playback.say(f"{read[-1]['stalls'] - read[0]['stalls']} stalls: once more, as on a host that was busy with other things")
            read = self.watch_for(WATCHED_SECONDS)
        ages = [age / 1000 for r in read for age in r["ages"]]
        first, last = read[0], read[-1]
        sys.stderr.write(f"pictures are {percentile(ages, 0.05):.2f} s, {percentile(ages, 0.5):.2f} s, {percentile(ages, 0.95):.2f} s old (5, 50, 95 of 100; {len(ages)} readings, "
                         f"{sum(r['bad'] for r in read)} bad), {last['stalls'] - first['stalls']} stalls, {last['droppedFrames'] - first['droppedFrames']} dropped, fetched {last['fetched']}\n")
        self.assertGreater(len(ages), 10 * WATCHED_SECONDS)
        self.assertEqual(last["stalls"], first["stalls"])
        self.assertEqual(last["fatalErrors"], 0)
        # An answer that comes late is one now and then; what goes wrong with each part is far more.
        self.assertLess(last["recoveredErrors"] - first["recoveredErrors"], WATCHED_SECONDS / 3)
        came = sum(last["edges"].values()) - sum(first["edges"].values())
        self.assertGreater(came, WATCHED_SECONDS, "the page knows which edge parts come from")
        self.assertLess(percentile(ages, 0.95), HOLD_BACK / 2)
        self.assertGreater(last["fetched"]["parts"] - first["fetched"]["parts"], WATCHED_SECONDS, "it plays parts")
        self.assertGreater(last["fetched"]["waits"] - first["fetched"]["waits"], WATCHED_SECONDS, "its reloads wait for the next part")
        self.assertEqual(self.viewer.said("complaint"), [])

    def test_2_plays_on_when_the_encoder_was_killed(self):
        """The same page goes on with the parts of the next run, behind a discontinuity."""
        os.kill(self.node.pid_of_task(self.task), signal.SIGKILL)
        before = self.watch_for(1)[-1]
        eventually("it plays on", lambda: self.watch_for(1)[-1]["currentTime"] > before["currentTime"] + 12, 60)
        read = self.watch_for(10)
        ages = [age / 1000 for r in read for age in r["ages"]]
        sys.stderr.write(f"afterwards pictures are {percentile(ages, 0.5):.2f} s old, {read[-1]['stalls'] - before['stalls']} stalls\n")
        self.assertEqual(read[-1]["fatalErrors"], 0)
        self.assertGreater(read[-1]["fetched"]["parts"] - read[0]["fetched"]["parts"], 5, "parts again")
        self.assertLess(percentile(ages, 0.5), HOLD_BACK)


if __name__ == "__main__":
    playback.run()
