"""A real Chromium watches through two edges with TLS and HTTP/2, whose certificate is renewed meanwhile."""

import os
import tempfile
import time

import playback  # puts tests/system on the path
from authority import Authority
from weir_node import eventually, trust


class Secured(playback.PlaybackCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="weir-ca-")
        cls.addClassCleanup(folder.cleanup)
        authority = Authority(folder.name)
        trust.only(authority.own.file)
        cls.certificate, cls.renewed = (authority.issue(name, "127.0.0.1") for name in ("live", "renewed"))
        os.environ["WEIR_CHROMIUM_BELIEVES"] = f"{cls.certificate.pin},{cls.renewed.pin}"
        cls.SECTIONS = {**cls.SECTIONS, "edge": {"certificate": cls.certificate.file, "key": cls.certificate.key}, "director": {"edge_authorities": authority.own.file}}
        super().setUpClass()

    def test_1_plays(self):
        """Both edges serve the page, which is at an http address itself and may fetch from them by its policy."""
        self.assert_smooth(self.watch_for(10))
        self.assertEqual(sorted(self.pages.values()), sorted(self.node.edges))
        self.assertTrue(all(edge.startswith("https://") for edge in self.pages.values()))
        self.assertEqual(self.viewers.said("complaint"), [])

    def test_2_the_certificate_is_renewed(self):
        """Connections that are open are ended by nginx when they are idle: no fetch fails, which the console would tell."""
        began = time.time()
        self.certificate.take(self.renewed.file, self.renewed.key)
        eventually("both edges show the new one", lambda: {trust.shown_at(edge) for edge in self.node.edges} == {self.renewed.shown}, 25)
        self.watch_for(20)
        playback.say("certificate renewed:")
        self.assert_smooth({page: playback.Stretch(self.samples(page, began)) for page in self.pages})
        self.assertEqual(self.viewers.said("complaint"), [])


if __name__ == "__main__":
    playback.run()
