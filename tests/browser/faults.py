"""A real Chromium watches through two edges while answers are spoilt on purpose (faulty_doors.py): on our page, and with Shaka on somebody else's
(hls.md 8.4 and 14, gates 3 and 4).

WEIR_PROFILE names the profile of the stream (`short`).

One node, one stream, one browser. A fault hits both players at the same time, each at the edge that it fetches from. Nobody else sees it, so nothing
helps but the player itself and its second pathway; and what a fault leaves behind in a player, the next one finds there."""

import functools
import os
from collections import namedtuple

import faulty_doors as doors
import playback  # puts tests/system on the path
from faulty_doors import Door, Fault, Faults
from weir_node import Encoder, HostWatch, LoggedCase, Node, eventually, wait_until_listed, wait_until_playable

# All in seconds. `full`: buffered by a player that lacks nothing, at its best moments: the hold-back, less a segment of which it hears late (Shaka
# reloads once a target duration, and not in step), and one that is fetched. `still`: for how long one fault may stop the picture (hls.md 8.4, 14).
Profile = namedtuple("Profile", "target hold_back full still options")
PROFILE = {
    "standard": Profile(6, 18, 11.0, 0.0, {}),
    "quick": Profile(4, 12, 7.0, 0.0, {"container": "fmp4"}),
    "short": Profile(2, 10, 7.0, 0.0, {}),
    "low_latency": Profile(4, 12, 0.5, 5.2, {"part": "333ms"}),
}[NAME := os.environ.get("WEIR_PROFILE", "short")]
TARGET = PROFILE.target
SILENCE = 3  # seconds that both players wait for a first byte, or the next one
PLAYERS = ("weir", "shaka")
LAST_PART = f".{TARGET * 1000 // (8 * 40)}.m4s"  # 333 ms are eight pictures of 40 ms each

SEGMENT = functools.partial(Fault, wanted=lambda path: "/s/" in path)
PLAYLIST = functools.partial(Fault, wanted=lambda path: "/p/" in path)


class PlayersUnderFaults(LoggedCase):
    nodes = []

    @classmethod
    def setUpClass(cls):
        # Each edge, and the director, is seen through a door with the same port at an address of its own.
        cls.node = node = Node(edge={"public_url": "http://127.0.1.{n}:{port}"})
        cls.addClassCleanup(node.remove)
        cls.nodes, cls.faults = [node], Faults()
        places = [(f"127.0.1.{n}", node.edge_port + n - 1) for n in (1, 2)] + [("127.0.1.100", node.port)]
        for place in places:
            door = Door(place, ("127.0.0.1", place[1]), cls.faults)
            cls.addClassCleanup(door.close)
        director = door.url
        node.start()
        stream = node.add_stream("show", title="Main hall")
        node.add_task(stream, "hls", {"ladder": "small", "profile": NAME, **PROFILE.options})
        cls.encoder = Encoder(node, "show", stream.key)
        cls.addClassCleanup(cls.encoder.stop)
        try:
            viewer = wait_until_playable(node, "show", 60)
            # Who comes earlier has less to buffer for as long as it watches.
            wait_until_listed(viewer, PROFILE.hold_back + 2 * TARGET, 60)
            cls.browser = playback.Script("faults.mjs", f"{director}/watch/show", f"{director}/hls/show/index.m3u8")
            cls.addClassCleanup(cls.browser.stop)
            cls.browser.wait_for("ready", 90)
        except BaseException:
            playback.say(f"--- the node's log ---\n{node.log_tail()}")
            raise

    @classmethod
    def tearDownClass(cls):
        cls.node.stop()

    def last(self, player):
        return self.browser.said("sample", page=player)[-1]

    def is_full(self, player):
        return (s := self.last(player))["buffered"] >= PROFILE.full and s or None

    def inflict(self, name, make, within, elsewhere=False):
        """`make`: the fault. A whole segment comes `within` seconds of its first hit, from the other edge where it is to come from `elsewhere`; the picture
        does not stand still for it, and leaves out nothing (but with low latency)."""
        before = eventually("both players have full buffers", lambda: all(all_ := [self.is_full(p) for p in PLAYERS]) and dict(zip(PLAYERS, all_)), 40)
        inflicted = {player: make() for player in PLAYERS}
        with HostWatch() as host:
            for player, fault in inflicted.items():
                self.faults.arm(player, fault)
            eventually(f"{name}: both are hit", lambda: all(f.hits for f in inflicted.values()), 5 * TARGET)
            after = {player: self.recover(name, player, fault) for player, fault in inflicted.items()}
            self.faults.clear()
        if host.longest > 0.2:
            playback.say(f"this machine stood still for {host.longest:.2f} s")
        for player, fault in inflicted.items():
            with self.subTest(fault=name, player=player):
                self.judge(name, player, fault, before[player], after[player], host.longest, within, elsewhere)

    def recover(self, name, player, fault):
        """How the player fares when the fault is over and it has all that it should have; one that nothing comes to for good would not get there."""
        fetched = lambda: [p for p in self.faults.passed_since(fault.began, player) if "/s/" in p.path]
        recovered = lambda: fault.over and len(fetched()) >= 2 and self.last(player)["at"] > fault.began + fault.seconds + 0.5 and self.is_full(player)
        try:
            return eventually(f"{name}: {player} recovers", recovered, fault.seconds + 30)
        except AssertionError as e:
            raise AssertionError(f"{e}; over: {fault.over}, segments since: {len(fetched())}, {self.last(player)}") from None

    def judge(self, name, player, fault, before, after, host, within, elsewhere):
        first = next(p for p in self.faults.passed_since(fault.began, player) if "/s/" in p.path)
        took, left = first.at - fault.began, first.door is not fault.door
        least = min(s["buffered"] for s in self.browser.said("sample", page=player) if before["at"] <= s["at"] <= after["at"])
        still, skipped = after["still"] - before["still"], after["skipped"] - before["skipped"]
        playback.say(f"  {name}, {player}: hit {fault.hits} times, a segment after {took:.1f} s{' elsewhere' if left and fault.wanted('/s/') else ''}, "
                     f"stood still for {still:.1f} s, left out {skipped:.1f} s, at least {least:.1f} s buffered, {after['errors']['all'] - before['errors']['all']} errors")
        self.assertLessEqual(still, PROFILE.still + host, "the picture goes on")
        self.assertLess(skipped, PROFILE.still + 0.5 + host, "all of it")
        self.assertEqual(after["loaded"], before["loaded"], "nobody loads the page anew")
        self.assertLess(took, within + host)
        if elsewhere:
            self.assertTrue(left, "the other edge is asked")

    def test_1_an_answer_is_spoilt(self):
        self.inflict("status 404", lambda: SEGMENT(doors.status(404)), within=2)
        self.inflict("the first byte is late", lambda: SEGMENT(doors.late(SILENCE + 1), seconds=SILENCE + 1), within=SILENCE + 2)
        self.inflict("cut in the middle", lambda: SEGMENT(doors.cut), within=1 + TARGET)  # hls.js asks again when it reloads
        self.inflict("silence in the middle", lambda: SEGMENT(doors.hole_in_body, seconds=SILENCE + 2), within=SILENCE + 2)

    def test_1_the_last_part_of_a_segment_is_spoilt(self):
        """hls.js takes another rendition, and then asks for nothing more; so the second fault shows what the first one has done."""
        if NAME != "low_latency":
            self.skipTest("there are no parts")
        for _ in range(2):
            self.inflict("status 404 of a last part", lambda: Fault(doors.status(404), wanted=lambda path: path.endswith(LAST_PART)), within=2)

    def test_2_an_edge_is_slow_for_a_while(self):
        """Slower than the smallest rendition."""
        self.inflict("a trickle", lambda: SEGMENT(doors.slow(12_000), seconds=4, lasting=True), within=4 + TARGET)

    def test_3_an_edge_fails_for_a_while(self):
        """For longer than a buffer lasts, but for the first: so each but that is survived at the other edge only, which is the one that failed before."""
        self.inflict("status 503", lambda: SEGMENT(doors.status(503), seconds=4, lasting=True), within=5, elsewhere=True)
        self.inflict("refused", lambda: SEGMENT(doors.reset, seconds=12, lasting=True), within=5, elsewhere=True)
        self.inflict("silence", lambda: SEGMENT(doors.hole, seconds=15, lasting=True), within=SILENCE + 2, elsewhere=True)

    def test_4_a_playlist_is_spoilt(self):
        self.inflict("a playlist with status 503", lambda: PLAYLIST(doors.status(503)), within=2 * TARGET)
        self.inflict("a playlist is refused", lambda: PLAYLIST(doors.reset), within=2 * TARGET)
        self.inflict("a playlist is late", lambda: PLAYLIST(doors.late(SILENCE), seconds=SILENCE), within=SILENCE + 2 * TARGET)
        if NAME == "low_latency":
            return  # whose reloads say what they wait for: no cache has an older answer to them
        self.inflict("a playlist is stale", lambda: PLAYLIST(doors.stale, seconds=3, lasting=True), within=3 + 2 * TARGET)

    def test_5_nothing_broke(self):
        """Chromium tells of each answer that failed; that is all it has to tell."""
        self.assertEqual([c for c in self.browser.said("complaint") if c["what"] != "console"], [])


if __name__ == "__main__":
    playback.run()
