"""Two players of others use the playlists of key frames in a real Chromium: Shaka runs fast through the time-shift window, hls.js shows single pictures of it."""

import playback  # puts tests/system on the path
from weir_node import Encoder, NodeCase, Viewer, wait_until_listed, wait_until_playable

# Seconds that are listed at first: Shaka takes what it sees then, less the hold-back, for all there will ever be.
WINDOW = 38
STREAMS = {"ts": {}, "fmp4": {"container": "fmp4"}, "apart": {"container": "fmp4", "audio": "separate"}}


class KeyFrames(NodeCase):
    SECTIONS = {"edge": {"instances": 1}, "origin": {"profile": "short", "dvr_window": "2m"}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name, options in STREAMS.items():
            stream = cls.node.add_stream(name)
            cls.node.add_task(stream, "hls", {"ladder": "small", "profile": "short", **options})
            cls.enterClassContext(Encoder(cls.node, name, stream.key))

    def play(self, name, player):
        wait_until_playable(self.node, name, 60)
        url = f"{self.node.url}/hls/{name}/dvr.m3u8"
        wait_until_listed(Viewer(self.node, name, url), WINDOW, WINDOW + 20)
        script = playback.Script("iframes.mjs", url, player)
        try:
            script.wait_for("done", 120)
        finally:
            script.stop()
        self.assertEqual(script.said("complaint"), [])
        fetched = script.said("fetched")[-1]
        playback.say(f"  {name}: {fetched}")
        self.assertGreater(fetched["lists"], 0)
        self.assertGreater(fetched["ranges"], 2)
        return script

    def test_1_shows_single_pictures(self):
        for name in STREAMS:
            with self.subTest(stream=name):
                stills = self.play(name, "hls.js").said("still")
                playback.say(f"  {[(round(s['asked'], 2), round(s['shown'], 2)) for s in stills]}")
                self.assertEqual(len(stills), 3)
                self.assertEqual(len({s["picture"] for s in stills}), 3, "each is another picture")

    def test_2_runs_fast(self):
        """Where sound is in the same segments, its buffer has holes without it: Shaka stands still."""
        fast = self.play("apart", "shaka").said("fast")[-1]
        playback.say(f"  {fast}")
        self.assertGreater(fast["moved"], 2 * fast["seconds"], "it runs fast")
        self.assertGreater(fast["pictures"], 2)
        self.assertEqual(fast["usual"], 1)


if __name__ == "__main__":
    playback.run()
