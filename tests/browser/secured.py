"""A real Chromium watches fragmented MP4 with TLS and HTTP/2, page, playlists and segments through two edges: the certificates are renewed meanwhile, and an edge is drained."""

import os
import tempfile
import time

import playback  # puts tests/system on the path
from authority import Authority
from weir_node import eventually, fetch, free_ports, trust


class Secured(playback.PlaybackCase):
    CONTAINER = "fmp4"

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="weir-ca-")
        cls.addClassCleanup(folder.cleanup)
        authority = Authority(folder.name)
        trust.only(authority.own.file)
        cls.certificate, cls.renewed = (authority.issue(name, "127.0.0.1") for name in ("live", "renewed"))
        os.environ["WEIR_CHROMIUM_BELIEVES"] = f"{cls.certificate.pin},{cls.renewed.pin}"
        cls.secure = f"127.0.0.1:{free_ports(1)}"
        cls.SECTIONS = {**cls.SECTIONS, "http": {"tls_listen": cls.secure, "certificate": cls.certificate.file, "key": cls.certificate.key}, "edge": {"certificate": cls.certificate.file, "key": cls.certificate.key}, "director": {"edge_authorities": authority.own.file}}
        super().setUpClass()

    @classmethod
    def site(cls):
        return "https://" + cls.secure

    def test_1_plays(self):
        """Both edges serve the page, which has its playlists over HTTP/2 from where it is itself, and may fetch from the edges by its policy."""
        self.assertEqual(self.stream.status()["playback_url"], f"{self.site()}/hls/show/index.m3u8")
        self.assert_smooth(self.watch_for(10))
        self.assertEqual(sorted(self.pages.values()), sorted(self.node.edges))
        self.assertTrue(all(edge.startswith("https://") for edge in self.pages.values()))
        self.assertEqual([self.viewers.said("sample", page=page)[-1]["protocols"] for page in self.pages], [["h2"], ["h2"]])
        self.assertEqual(fetch(f"{self.site()}/metrics").status, 404, "what is between machines stays there")
        self.assertEqual(self.viewers.said("complaint"), [])

    def test_2_the_certificate_is_renewed(self):
        """Connections that are open are ended by nginx when they are idle: no fetch fails, which the console would tell."""
        began = time.time()
        self.certificate.take(self.renewed.file, self.renewed.key)
        eventually("the page and both edges show the new one", lambda: {trust.shown_at(at) for at in [self.site(), *self.node.edges]} == {self.renewed.shown}, 25)
        self.watch_for(20)
        playback.say("certificate renewed:")
        self.assert_smooth({page: playback.Stretch(self.samples(page, began)) for page in self.pages})
        self.assertEqual(self.viewers.said("complaint"), [])

    def test_3_an_edge_is_drained(self):
        """New segments come from the other edge to those who watch, and with them their map from there, in the midst of a playlist."""
        page, edge = next(iter(self.pages.items()))
        left, = [e for e in self.node.edges if e != edge]
        one, = [e for e in self.node.items("/api/v1/edges") if e["url"] == edge]
        count = lambda: self.viewers.said("sample", page=page)[-1]["edges"].get(left.removeprefix("https://"), 0)
        before = count()
        began = time.time()
        self.node.change("POST", f"/api/v1/edges/{one['name']}/drain")
        eventually("its viewer fetches at the other edge", lambda: count() >= before + 4, 60)
        playback.say(f"edge drained, {time.time() - began:.1f} s:")
        self.assert_smooth({page: playback.Stretch(self.samples(page, began)) for page in self.pages})
        self.assertEqual(self.viewers.said("complaint"), [])


if __name__ == "__main__":
    playback.run()
