"""Who may publish, what viewers get of it, and how a broadcast ends: issue 2, items 4, 5, 8 and 9."""

import glob
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse

from weir_node import Encoder, HostWatch, NodeCase, Playlist, SOURCE, Viewer, eventually, fetch, main, processes, wait_until_playable, watch, watched

WATCHED_SECONDS = int(os.environ.get("WEIR_WATCH_SECONDS", "60"))
RECORDED = os.path.join(SOURCE, "tests/data/srs-hooks")


def probe(media):
    """What ffprobe decodes of one segment: its streams by type. Fails on anything that ffprobe complains about."""
    with tempfile.NamedTemporaryFile(suffix=".ts") as f:
        f.write(media)
        f.flush()
        done = subprocess.run(["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=codec_type,codec_name,width,height,nb_read_frames", "-of", "json", f.name],
                              capture_output=True, timeout=30, check=False)
    if done.returncode != 0 or done.stderr:
        raise AssertionError(f"ffprobe: {done.stderr.decode()}")
    return {s["codec_type"]: s for s in json.loads(done.stdout)["streams"]}


def pictures(what):
    """Flags of the picture packets that ffprobe finds in a file or at an address, of which all must decode."""
    done = subprocess.run(["ffprobe", "-v", "error", "-select_streams", "v", "-count_frames", "-show_entries", "packet=flags:stream=nb_read_frames", "-of", "json", what],
                          capture_output=True, timeout=30, check=False)
    if done.returncode != 0:
        raise AssertionError(f"ffprobe: {done.stderr.decode()}")
    found = json.loads(done.stdout)
    flags = [p["flags"] for p in found["packets"]]
    if int(found["streams"][0]["nb_read_frames"]) != len(flags):
        raise AssertionError(f"ffprobe decodes {found['streams'][0]['nb_read_frames']} of {len(flags)} pictures")
    return flags


class Publishing(NodeCase):
    def check_iframes(self, viewer, ended=False):
        """Trick play: each range of each I-frame playlist comes from an edge, alone, and is a key frame behind what stands before all of them."""
        self.assertEqual(len(viewer.iframes), len(viewer.variants))
        for url, variant in zip(viewer.iframes, range(len(viewer.variants))):
            answer = fetch(url)
            self.assertEqual((answer.status, answer.header("Content-Type")), (200, "application/vnd.apple.mpegurl"))
            listed = Playlist(url, answer.text).media
            whole = {e.uri: e for e in viewer.playlist(variant).media}
            self.assertLessEqual(len(whole) - 1, len({e.uri for e in listed} & set(whole)), "of the same edges")
            self.assertEqual(urllib.parse.urlsplit(url).path.split("/")[4], urllib.parse.urlsplit(viewer.variants[variant]).path.split("/")[4][:-5])
            for uri in {e.uri for e in listed} & set(whole):
                self.assertAlmostEqual(sum(e.duration for e in listed if e.uri == uri), whole[uri].duration, places=3)
            for e in listed[-3:]:
                first, length = e.range
                part = fetch(e.uri, headers={"Range": f"bytes={first}-{first + length - 1}"})
                self.assertEqual((part.status, len(part.body), part.header("Access-Control-Allow-Origin")), (206, length, "*"))
                self.assertTrue(part.header("Content-Range").startswith(f"bytes {first}-{first + length - 1}/"))
                head = fetch(e.map).body if e.map else fetch(e.uri, headers={"Range": f"bytes=0-{next(o.range[0] for o in listed if o.uri == e.uri) - 1}"}).body
                with tempfile.NamedTemporaryFile(suffix=".mp4" if e.map else ".ts") as f:
                    f.write(head + part.body)
                    f.flush()
                    flags = pictures(f.name)
                self.assertEqual((len(flags), flags[0][0]), (1, "K"), e.uri)
            self.assertEqual("#EXT-X-ENDLIST" in answer.text, ended)
            if ended:
                self.assertEqual([f[0] for f in pictures(url)], ["K"] * len(listed))

    def test_right_key_plays_through_both_edges_and_ends_cleanly(self):
        node = self.node
        stream = node.add_stream("show")
        task = node.add_hls(stream)
        self.assertEqual(fetch(node.playback_url("show")).status, 404)
        with Encoder(node, "show", stream.key) as encoder:
            status = stream.wait_for_phase("live", 10)
            self.assertEqual(len(status["publishers"]), 1)
            self.assertEqual(status["publish_urls"], [node.publish_url("show")])
            viewer = wait_until_playable(node, "show", 40)
            self.assertEqual(node.task(task)["phase"], "running")
            self.assertEqual(node.task(task)["attempts"], 1)

            with self.subTest("the linter finds nothing"):
                with HostWatch() as host:
                    report = watch(node, "show", WATCHED_SECONDS)
                if report["findings"] and host.longest > 0.5:
                    print(f"the machine stood still for {host.longest:.1f} s: once more, instead of {report['findings']}", file=sys.stderr)
                    report = watch(node, "show", WATCHED_SECONDS)
                self.assertEqual(report["findings"], [])
                self.assertLess(report["longest_without_new_seconds"], 3.0)
                self.assertGreater(report["segments"], WATCHED_SECONDS / 2)

            with self.subTest("every rung decodes"):
                heights = set()
                for variant in range(len(viewer.variants)):
                    entry = viewer.playlist(variant).media[-1]
                    segment = fetch(entry.uri)
                    self.assertEqual((segment.status, segment.header("Content-Type"), segment.header("Access-Control-Allow-Origin")), (200, "video/mp2t", "*"))
                    found = probe(segment.body)
                    self.assertEqual((found["video"]["codec_name"], found["audio"]["codec_name"]), ("h264", "aac"))
                    self.assertEqual(int(found["video"]["nb_read_frames"]), round(entry.duration * 25))
                    heights.add(found["video"]["height"])
                self.assertEqual(heights, {180, 120})

            with self.subTest("viewers are spread over both edges, each stays with its own"):
                used = set()
                for _ in range(24):
                    hosts = {urllib.parse.urlsplit(e.uri).netloc for e in Viewer(node, "show").playlist().media[-3:]}
                    self.assertEqual(len(hosts), 1, "new segments of one viewer come from one edge")
                    used |= hosts
                self.assertEqual({f"http://{h}" for h in used}, set(node.edges))

            with self.subTest("the edge keeps what it fetched"):
                entry = viewer.playlist().media[-1]
                fetch(entry.uri)
                self.assertEqual(fetch(entry.uri).header("X-Cache"), "HIT")

            with self.subTest("key frames alone"):
                self.check_iframes(viewer)

            last = viewer.playlist().entries[-1].msn
            encoder.stop()

        left = time.monotonic()
        stream.wait_for_phase("ending", 6)
        ended = eventually("ENDLIST", lambda: (p := viewer.playlist()).ended and p, 15)
        self.assertGreaterEqual(time.monotonic() - left, 2, "the grace lets an encoder come back")
        stream.wait_for_phase("offline", 5)
        self.assertGreaterEqual(ended.entries[-1].msn, last)
        self.assertEqual(fetch(ended.media[-1].uri).status, 200, "what is listed stays")
        with self.subTest("ffprobe plays an I-frame playlist"):
            self.check_iframes(viewer, ended=True)
        eventually("the task waits", lambda: node.task(task)["phase"] in ("waiting", "done"), 8)
        self.assertEqual(processes(lambda p: p.session in node.sessions and "weir-pipeline" in p.command), [])

        with self.subTest("a second broadcast is another instance with higher numbers"), Encoder(node, "show", stream.key):
            def begun():
                found = Viewer(node, "show")
                return found.variants[0].split("/")[5] != viewer.variants[0].split("/")[5] and found

            again = eventually("another instance", begun, 40)
            entries = eventually("its media", lambda: again.playlist().media, 10)
            self.assertGreater(entries[0].msn, ended.entries[-1].msn)
            self.assertFalse(again.playlist().ended)

            with self.subTest("once it is signed, only who has a signed address watches, all from the same caches"):
                node.change("PATCH", f"/api/v1/streams/{stream.id}", {"viewing": "signed"})
                eventually("strangers are barred", lambda: fetch(node.playback_url("show")).status == 403, 5)
                passes = [node.change("POST", f"/api/v1/streams/{stream.id}/viewing-tokens", {"lifetime": lasts}) for lasts in ("10m", "11m")]
                one = Viewer(node, "show", passes[0]["playback_url"])

                def newest():
                    """What nobody fetched while the stream was open."""
                    uri = one.playlist().media[-1].uri
                    return fetch(uri.replace("/t/" + passes[0]["token"], "")).status == 403 and uri

                uri = eventually("a segment that only tokens open", newest, 15)
                self.assertIn("/t/" + passes[0]["token"] + "/s/show~", uri)
                self.assertEqual(fetch(uri).status, 200)
                other = fetch(uri.replace(passes[0]["token"], passes[1]["token"]))
                self.assertEqual((other.status, other.header("X-Cache"), other.header("Access-Control-Allow-Origin")), (200, "HIT", "*"))
                bare = urllib.parse.urlsplit(uri).path.split(passes[0]["token"])[1]
                self.assertEqual(fetch(node.url + bare).status, 403, "nor does the origin show it past the edges")
                self.assertEqual(fetch(uri.replace("/t/1", "/t/2")).status, 403)
                self.assertEqual(fetch(variant := again.variants[0], timeout=3).status, 403, variant)
                self.assertNotIn(passes[0]["token"], node.log())

    def test_fragments_play_through_a_killed_encoder(self):
        """Fragmented MP4: each segment decodes behind its map, which lies on the same edge, and the next encoder of the same settings goes on with it."""
        node = self.node
        stream = node.add_stream("fragments")
        task = node.add_hls(stream, container="fmp4")
        with Encoder(node, "fragments", stream.key, insists=True):
            viewer = wait_until_playable(node, "fragments", 40)
            for variant in range(len(viewer.variants)):
                entry = viewer.playlist(variant).media[-1]
                map = fetch(entry.map)
                segment = fetch(entry.uri)
                self.assertEqual((map.status, map.header("Content-Type"), map.header("Access-Control-Allow-Origin")), (200, "video/mp4", "*"))
                self.assertEqual((segment.status, segment.header("Content-Type")), (200, "video/iso.segment"))
                self.assertEqual(urllib.parse.urlsplit(entry.map).netloc, urllib.parse.urlsplit(entry.uri).netloc)
                found = probe(map.body + segment.body)
                self.assertEqual((found["video"]["codec_name"], found["audio"]["codec_name"]), ("h264", "aac"))
                self.assertEqual(int(found["video"]["nb_read_frames"]), round(entry.duration * 25))
            self.check_iframes(viewer)
            with watched(node, "fragments", 2) as (follower, _):
                first = follower.newest()
                eventually("it runs steadily", lambda: follower.newest() >= first + 2, 15)
                known = follower.discontinuities()
                os.kill(node.pid_of_task(task), signal.SIGKILL)
                eventually("the next encoder's segments", lambda: len(follower.discontinuities()) == len(known) + 1, 20)
                seam = follower.discontinuities()[-1]
                eventually("more of them", lambda: follower.newest() >= seam + 3, 15)
            self.assertEqual(follower.breaches, [])
            after = follower.seen[follower.newest()][0]
            self.assertNotEqual(after.uri.split("/")[5], entry.uri.split("/")[5], "another writer")
            self.assertEqual(urllib.parse.urlsplit(after.map).path, urllib.parse.urlsplit(follower.seen[first][0].map).path, "of the same map")
            probe(fetch(after.map).body + fetch(after.uri).body)
            report = watch(node, "fragments", 10)
            self.assertEqual(report["findings"], [])

    def test_sound_of_its_own_is_one_rendition_of_all_rungs(self):
        node = self.node
        stream = node.add_stream("spoken")
        node.add_task(stream, "hls", {"ladder": "small", "profile": "short", "container": "fmp4", "audio": "separate", "language": "de"})
        with Encoder(node, "spoken", stream.key):
            viewer = wait_until_playable(node, "spoken", 40)
            tags = [line for line in viewer.text.splitlines() if line.startswith("#EXT-X-MEDIA:TYPE=AUDIO")]
            self.assertEqual(len(tags), 2, "one for each pathway")
            self.assertTrue(all('LANGUAGE="de"' in tag for tag in tags), tags)
            url = urllib.parse.urljoin(node.playback_url("spoken"), tags[0].split('URI="')[1].split('"')[0])
            sound = eventually("its segments", lambda: Playlist(url, fetch(url).text).media, 10)[-1]
            pictures_of = next(e for e in viewer.playlist().media if e.msn == sound.msn)
            self.assertAlmostEqual(sound.duration, pictures_of.duration, delta=0.05)
            for entry, kind in ((sound, "audio"), (pictures_of, "video")):
                self.assertEqual(list(probe(fetch(entry.map).body + fetch(entry.uri).body)), [kind])
            report = watch(node, "spoken", 12)
            self.assertEqual(report["findings"], [])

    def test_nobody_publishes_without_the_right_key(self):
        node = self.node
        stream = node.add_stream("guarded")
        for what, key in (("a wrong key", "wrong-key-0"), ("no key", None), ("an empty key", ""), ("the key and more", stream.key + "x"), ("its beginning", stream.key[:-1])):
            with self.subTest(what), Encoder(node, "guarded", key) as encoder:
                self.assertNotEqual(encoder.wait(10), 0)
                self.assertEqual(stream.status()["phase"], "offline")
        with self.subTest("an unknown stream"), Encoder(node, "nobody-made-this", stream.key) as encoder:
            self.assertNotEqual(encoder.wait(10), 0)
        self.assertNotIn(stream.key, node.log())

    def test_a_disabled_stream_is_refused_and_a_live_one_is_cut_off(self):
        node = self.node
        stream = node.add_stream("switched", enabled=False)
        with Encoder(node, "switched", stream.key) as encoder:
            self.assertNotEqual(encoder.wait(10), 0)
        node.change("PATCH", f"/api/v1/streams/{stream.id}", {"enabled": True})
        with Encoder(node, "switched", stream.key) as encoder:
            stream.wait_for_phase("live", 10)
            node.change("PATCH", f"/api/v1/streams/{stream.id}", {"enabled": False})
            self.assertNotEqual(encoder.wait(5), 0)
            stream.wait_for_phase("offline", 8)

    def test_a_new_key_replaces_the_old_one(self):
        stream = self.node.add_stream("rotated")
        fresh = self.node.change("POST", f"/api/v1/streams/{stream.id}/rotate-key")["key"]
        self.assertNotEqual(fresh, stream.key)
        with Encoder(self.node, "rotated", stream.key) as encoder:
            self.assertNotEqual(encoder.wait(10), 0)
        with Encoder(self.node, "rotated", fresh):
            stream.wait_for_phase("live", 10)
            self.node.change("POST", f"/api/v1/streams/{stream.id}/kick")
            stream.wait_for_phase("offline", 8)


class Hooks(NodeCase):
    """Recorded callbacks of SRS, sent to the HTTP port byte for byte but for the address and the key."""

    SECTIONS = {
        "roles": ["coordinator", "origin", "director"],
        "hooks": {"secret": "behind-the-hedge"},
        "rtmp_servers": [{"name": "srs1", "kind": "srs", "rtmp_url": "rtmp://127.0.0.1:1", "secret": "only-of-srs1"}],
    }
    PATH = "/hooks/srs/behind-the-hedge?server=srs1"

    def hook(self, body, path=PATH, method="POST"):
        began = time.monotonic()
        answer = fetch(self.node.url + path, method, body, {"Content-Type": "application/json"}, timeout=5)
        self.assertLess(time.monotonic() - began, 1.0, "a callback is answered within a second")
        return answer

    def recorded(self, name, **changes):
        """The body of a recorded request, with some text replaced."""
        with open(os.path.join(RECORDED, name), "rb") as f:
            body = f.read().split(b"\r\n\r\n", 1)[1]
        for old, new in changes.items():
            self.assertIn(old.encode(), body)
            body = body.replace(old.encode(), new.encode())
        return body

    def test_recorded_callbacks_tell_who_is_live(self):
        stream = self.node.add_stream("livestream", key="secret-of-the-lab")
        right = {"key=secret": "key=secret-of-the-lab"}

        answer = self.hook(self.recorded("on_connect.publisher.http"))
        self.assertEqual((answer.status, answer.body), (200, b"0"))
        answer = self.hook(self.recorded("on_publish.http"))  # with the key of six letters that was recorded
        self.assertFalse(answer.status in (200, 201) and answer.body == b"0", "a wrong key is refused")
        self.assertEqual(stream.status()["phase"], "offline")

        for _ in range(2):  # doubled hooks change nothing
            answer = self.hook(self.recorded("on_publish.http", **right))
            self.assertEqual((answer.status, answer.body), (200, b"0"))
        live = stream.wait_for_phase("live", 2)
        self.assertEqual([(p["server"], p["client_id"]) for p in live["publishers"]], [("srs1", "7x9l8y2x")])

        for name in ("on_play.rtmp.http", "on_play.httpflv.http", "on_play.hls.http", "on_dvr.http", "on_hls.http", "on_stop.rtmp.http", "on_stop.hls.http", "on_close.player.http"):
            answer = self.hook(self.recorded(name))
            self.assertEqual((name, answer.status, answer.body), (name, 200, b"0"))
        self.assertEqual(self.hook(None, method="GET").status, 200)  # on_hls_notify has no body
        self.assertEqual(stream.status()["phase"], "live")

        self.hook(self.recorded("on_unpublish.http", **{"7x9l8y2x": "somebody"}))
        self.assertEqual(stream.status()["phase"], "live", "another client's farewell ends nothing")
        for _ in range(2):
            self.assertEqual(self.hook(self.recorded("on_unpublish.http")).status, 200)
        stream.wait_for_phase("ending", 2)
        self.hook(self.recorded("on_close.publisher.http"))
        stream.wait_for_phase("offline", 6)

    def test_a_restarted_server_has_no_publishers(self):
        stream = self.node.add_stream("restarted", key="secret-of-the-lab")
        mine = {"livestream": "restarted", "key=secret": "key=secret-of-the-lab"}
        self.hook(self.recorded("on_publish.http", **mine))
        stream.wait_for_phase("live", 2)
        self.hook(self.recorded("on_connect.publisher.http", **{"722165md": "newstart"}))
        stream.wait_for_phase("ending", 2)
        self.hook(self.recorded("on_publish.http", **mine, **{"722165md": "newstart", "7x9l8y2x": "afterward"}))
        live = stream.wait_for_phase("live", 2)
        self.assertEqual([p["client_id"] for p in live["publishers"]], ["afterward"])
        self.hook(self.recorded("on_unpublish.http", **{"livestream": "restarted", "722165md": "newstart", "7x9l8y2x": "afterward"}))
        stream.wait_for_phase("offline", 6)

    def test_bad_bodies_do_no_harm(self):
        good = json.loads(self.recorded("on_publish.http"))
        bad = {
            "empty": b"", "no JSON": b"\xff\xfe\x00", "cut off": b'{"action":"on_publish"', "a list": b"[]", "no action": b"{}",
            "a number for a name": json.dumps({**good, "stream": 7}).encode(), "no client": json.dumps({k: v for k, v in good.items() if k != "client_id"}).encode(),
            "control bytes": json.dumps({**good, "stream": "a\u0000b\n"}).encode(), "deep": b'{"a":' * 5000 + b"1" + b"}" * 5000,
            "a path for a name": json.dumps({**good, "stream": "../../etc/passwd"}).encode(), "64 kB": json.dumps({**good, "param": "x" * 70000}).encode(),
        }
        for what, body in bad.items():
            with self.subTest(what):
                answer = self.hook(body)
                self.assertFalse(answer.status in (200, 201) and answer.body == b"0", f"{what}: {answer}")
        unknown = {**good, "action": "on_something_new", "added_by_srs_9": {"deep": [1, 2, 3]}}
        self.assertEqual(self.hook(json.dumps(unknown).encode()).status, 200)
        self.assertEqual(fetch(self.node.url + "/livez").status, 200)
        self.assertEqual(self.hook(self.recorded("on_connect.publisher.http")).body, b"0")

    def test_the_secret_in_the_path_is_needed(self):
        body = self.recorded("on_connect.publisher.http")
        for path in ("/hooks/srs", "/hooks/srs/", "/hooks/srs/wrong", "/hooks/nginx-rtmp", "/rtmp/callback/srs", "/hooks/srs/behind-the-hedge/more"):
            with self.subTest(path):
                self.assertIn(self.hook(body, path).status, (403, 404))
        self.assertEqual(self.hook(body, "/rtmp/callback/srs/behind-the-hedge").body, b"0")
        self.assertEqual(self.hook(body, "/hooks/srs/only-of-srs1?server=srs1").body, b"0")
        self.assertNotIn("behind-the-hedge", self.node.log())

    def test_every_recorded_nginx_callback_is_answered(self):
        for file in sorted(glob.glob(os.path.join(SOURCE, "tests/data/nginx-rtmp-hooks/*.http"))):
            with self.subTest(os.path.basename(file)), open(file, "rb") as f:
                body = f.read().split(b"\r\n\r\n", 1)[1]
                answer = fetch(self.node.url + "/hooks/nginx-rtmp/behind-the-hedge?server=n1", "POST", body, {"Content-Type": "application/x-www-form-urlencoded"})
                self.assertIn(answer.status, (200, 403))


if __name__ == "__main__":
    main()
