"""Who reaches what: token, cookie, pages, health and playback (issue 2, item 11; docs: contract.md, HTTP)."""

import gzip
import json
import os
import re
import signal
import stat
import time

from weir_node import Encoder, NodeCase, eventually, fetch, main, wait_until_playable

GUARDED = ["/api/v1/streams", "/api/v1/tasks", "/api/v1/nodes", "/api/v1/edges", "/api/v1/events", "/api/v1/live", "/api/v1/task-types", "/introspect"]


class Access(NodeCase):
    SECTIONS = {"roles": ["coordinator", "origin", "director"]}

    def sign_in(self):
        answer = fetch(self.node.url + "/api/v1/session", "POST", {"token": self.node.token})
        self.assertEqual(answer.status, 204)
        shown = answer.header("Set-Cookie")
        for word in ("HttpOnly", "SameSite=Strict", "Path=/"):
            self.assertIn(word, shown)
        self.assertNotIn(self.node.token, shown)
        return shown.split(";")[0]

    def test_the_token_is_private_and_in_no_log(self):
        token_file = os.path.join(self.node.data, "api-token")
        self.assertEqual(stat.S_IMODE(os.stat(token_file).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(self.node.data).st_mode) & 0o077, 0)
        self.assertGreaterEqual(len(self.node.token), 32)
        self.assertNotIn(self.node.token, self.node.log())

    def test_without_a_token_nothing_is_told_or_changed(self):
        for path in GUARDED:
            with self.subTest(path):
                answer = fetch(self.node.url + path)
                self.assertEqual((answer.status, answer.header("Content-Type")), (401, "application/problem+json"))
                self.assertTrue(answer.json["code"])
                self.assertIn("Bearer", answer.header("WWW-Authenticate"))
        self.assertEqual(fetch(self.node.url + "/api/v1/streams", "POST", {"name": "intruder"}).status, 401)
        self.assertEqual(fetch(self.node.url + "/api/v1/streams", headers={"Cookie": "weir_session=9999999999.AAAA"}).status, 401)
        self.assertEqual(fetch(self.node.url + "/api/v1/streams?token=" + self.node.token).status, 401, "a token in an address would be logged")
        self.assertNotIn("intruder", [s["name"] for s in self.node.items("/api/v1/streams")])

    def test_a_creation_sent_twice_makes_one_thing(self):
        stream = self.node.add_stream("twice")
        make = lambda key, **more: self.node.call("POST", f"/api/v1/streams/{stream.id}/tasks", {"type": "hls", **more}, {"Idempotency-Key": key})
        first, again, other = make("k1"), make("k1"), make("k1", name="another")
        self.assertEqual((first.status, again.status, other.status), (201, 201, 201))
        self.assertEqual(again.json["id"], first.json["id"])
        self.assertNotEqual(other.json["id"], first.json["id"], "the same key for something else is not the same creation")
        self.assertEqual(make("x" * 200).status, 400)
        again = self.node.call("POST", "/api/v1/streams", {"name": "once"}, {"Idempotency-Key": "k2"})
        self.assertEqual(self.node.call("POST", "/api/v1/streams", {"name": "once"}, {"Idempotency-Key": "k2"}).json["id"], again.json["id"])
        self.assertEqual(self.node.call("POST", "/api/v1/streams", {"name": "once"}).status, 409)

    def test_a_signed_address_is_good_for_eight_hours_unless_told_otherwise(self):
        stream = self.node.add_stream("signed", viewing="signed")
        for wish, lasts in ((None, 8 * 3600), ({}, 8 * 3600), ({"lifetime": "30m"}, 1800)):
            with self.subTest(wish):
                before = time.time()
                given = self.node.change("POST", f"/api/v1/streams/{stream.id}/viewing-tokens", wish)
                expires = int(given["token"].split(".")[0])
                self.assertGreaterEqual(expires, before + lasts)
                self.assertLess(expires, time.time() + lasts + 1, "in whole seconds")
                self.assertEqual(given["expires"][:19], time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(expires)))
                self.assertIn(given["token"], given["playback_url"])

    def test_the_api_describes_itself(self):
        book = self.node.get("/api/v1/openapi.json")
        self.assertEqual(book["openapi"], "3.1.0")
        stream = self.node.add_stream("described")
        task = self.node.add_task(stream, "hls", {})
        for path, operations in book["paths"].items():
            for method, about in operations.items():
                with self.subTest(f"{method} {path}"):
                    self.assertTrue(about["summary"])
                    self.assertIn("default", about["responses"])
                    for word in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(about)):
                        self.assertIn(word, book["components"]["schemas"])
            if "get" in operations and path != "/api/v1/live":
                real = path.replace("{id}", task if "/tasks/" in path else stream.id)
                self.assertEqual(self.node.call("GET", real).status, 200, real)
        self.assertEqual(book["components"]["schemas"]["Stream"]["properties"]["name"]["type"], "string")

    def test_a_reload_applies_what_it_can_and_says_what_waits(self):
        node = self.node
        with open(node.config_file, encoding="utf-8") as f:
            before = json.load(f)

        def reload(config, saying):
            seen = node.log().count(saying)
            with open(node.config_file, "w", encoding="utf-8") as f:
                json.dump(config, f)
            node.process.send_signal(signal.SIGHUP)
            eventually(saying, lambda: node.log().count(saying) > seen, 10)

        try:
            reload({**before, "http": {**before["http"], "threads": 3}, "node": {"name": "other"}}, "takes_restart=node.name,http.threads")
            reload({**before, "log": {**before["log"], "level": "warn"}}, "takes_restart=nothing")
            node.add_stream("unheard")
            self.assertNotIn("stream/unheard", node.log())
            reload({**before, "log": {"level": "loud"}}, "reload-failed")
        finally:
            with open(node.config_file, "w", encoding="utf-8") as f:
                json.dump(before, f)
            node.process.send_signal(signal.SIGHUP)
        eventually("the level is info again", lambda: node.log().count("takes_restart=nothing") > 1 or node.process.send_signal(signal.SIGHUP), 10, every=0.5)
        node.add_stream("heard")
        self.assertIn("stream/heard", node.log())

    def test_zz_wrong_tokens_are_slowed_down(self):
        """Last in order, since it uses up this address's patience."""
        seen = [fetch(self.node.url + "/api/v1/streams", headers={"Authorization": f"Bearer weir_wrong{i}"}).status for i in range(40)]
        self.assertEqual(seen[0], 401)
        self.assertIn(429, seen)
        self.assertEqual(set(seen), {401, 429})
        self.assertEqual(fetch(self.node.url + "/api/v1/session", "POST", {"token": "weir_wrong"}).status, 429)
        self.assertEqual(self.node.call("GET", "/api/v1/streams").status, 200, "who has the right token is not shut out")

    def test_a_cookie_changes_things_only_from_our_own_page(self):
        cookie = {"Cookie": self.sign_in()}
        stream = {"name": "by-cookie"}
        post = lambda **more: fetch(self.node.url + "/api/v1/streams", "POST", stream, {**cookie, **{k.replace("_", "-"): v for k, v in more.items()}}).status
        self.assertEqual(fetch(self.node.url + "/api/v1/streams", headers=cookie).status, 200)
        self.assertEqual(post(), 403)
        self.assertEqual(post(X_Weir_Request="1", Origin="http://evil.example"), 403)
        self.assertEqual(post(X_Weir_Request="1", Sec_Fetch_Site="cross-site"), 403)
        self.assertEqual(post(Origin=self.node.url, Sec_Fetch_Site="same-origin"), 403)
        self.assertEqual(post(X_Weir_Request="1", Origin=self.node.url, Sec_Fetch_Site="same-origin"), 201)
        tampered = {"Cookie": cookie["Cookie"][:-2] + ("AA" if not cookie["Cookie"].endswith("AA") else "BB")}
        self.assertEqual(fetch(self.node.url + "/api/v1/streams", headers=tampered).status, 401)
        out = fetch(self.node.url + "/api/v1/session", "DELETE", headers={**cookie, "X-Weir-Request": "1"})
        self.assertIn("Max-Age=0", out.header("Set-Cookie"))

    def test_pages_are_strict_and_hold_no_secret(self):
        page = fetch(self.node.url + "/")
        assets = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page.text)
        self.assertTrue(assets)
        for path in ["/", "/watch/anything", *assets]:
            with self.subTest(path):
                answer = fetch(self.node.url + path)
                self.assertEqual(answer.status, 200)
                policy = answer.header("Content-Security-Policy")
                self.assertNotIn("unsafe-", policy)
                for word in ("default-src 'self'", "object-src 'none'", "base-uri 'none'", "frame-ancestors"):
                    self.assertIn(word, policy)
                self.assertEqual((answer.header("X-Content-Type-Options"), answer.header("Referrer-Policy")), ("nosniff", "no-referrer"))
                self.assertNotIn(self.node.token, answer.text)
                self.assertIsNone(answer.header("Access-Control-Allow-Origin"))
                again = fetch(self.node.url + path, headers={"If-None-Match": answer.header("ETag")})
                self.assertEqual((again.status, again.body), (304, b""))

    def test_health_and_metrics_need_no_token(self):
        self.assertEqual(fetch(self.node.url + "/livez").status, 200)
        self.assertEqual(fetch(self.node.url + "/readyz").status, 200)
        metrics = fetch(self.node.url + "/metrics")
        self.assertEqual(metrics.status, 200)
        self.assertTrue(metrics.header("Content-Type").startswith("text/plain"))
        self.assertRegex(metrics.text, r"(?m)^# TYPE weir_\w+ (counter|gauge|histogram)$")
        self.assertNotIn(self.node.token, metrics.text)

    def test_keys_are_told_only_on_request_and_that_is_noted(self):
        stream = self.node.add_stream("keyed", key="a-key-nobody-guesses")
        self.assertEqual(stream.key, "a-key-nobody-guesses")
        for path in (f"/api/v1/streams/{stream.id}", "/api/v1/streams", "/api/v1/events", "/introspect"):
            self.assertNotIn(stream.key, self.node.call("GET", path).text)
        self.assertIn("stream/keyed", [e["subject"] for e in self.node.events("stream-key-shown")])
        self.assertNotIn(stream.key, self.node.log())

    def test_a_change_names_the_version_it_means(self):
        stream = self.node.add_stream("versioned")
        path = f"/api/v1/streams/{stream.id}"
        tag = self.node.call("GET", path).header("ETag")
        self.assertEqual(self.node.call("PATCH", path, {"comment": "first"}, {"If-Match": tag}).status, 200)
        late = self.node.call("PATCH", path, {"comment": "second"}, {"If-Match": tag})
        self.assertEqual((late.status, late.header("Content-Type")), (412, "application/problem+json"))
        self.assertEqual(self.node.get(path)["comment"], "first")
        self.assertEqual(self.node.call("DELETE", path, headers={"If-Match": tag}).status, 412)

    def test_what_is_wrong_with_a_body_is_said_with_its_place(self):
        cases = {
            '{"name": "x", "colour": 1}': "/colour", '{"name": 5}': "/name", '{"name": ""}': "/name", '{"name": "a", "enabled": "yes"}': "/enabled",
            '{"name": "a", "name": "b"}': "",  # the object that holds it twice
        }
        for body, pointer in cases.items():
            with self.subTest(body):
                answer = self.node.call("POST", "/api/v1/streams", body.encode(), {"Content-Type": "application/json"})
                self.assertIn(answer.status, (400, 422))
                self.assertEqual(answer.header("Content-Type"), "application/problem+json")
                self.assertIn(pointer, [e["pointer"] for e in answer.json["errors"]])
        for body in (b"", b"{", b"[]", b"null", b"\xff", b'{"a":' * 10000):
            self.assertIn(self.node.call("POST", "/api/v1/streams", body).status, (400, 413, 422))
        self.assertEqual(self.node.call("POST", "/api/v1/streams", b" " * (2 << 20)).status, 413)
        self.assertEqual(self.node.call("GET", "/api/v1/streams/none").status, 404)
        self.assertEqual(self.node.call("PUT", "/api/v1/streams").status, 405)
        self.assertEqual(self.node.call("GET", "/nowhere").status, 404)


class Playback(NodeCase):
    """Everybody may watch, from any page."""

    def test_playback_is_open_to_all_pages(self):
        node = self.node
        stream = node.add_stream("open")
        node.add_hls(stream)
        absent = fetch(node.playback_url("open"), headers={"Origin": "http://elsewhere.example"})
        self.assertEqual((absent.status, absent.header("Access-Control-Allow-Origin")), (404, "*"))
        with Encoder(node, "open", stream.key):
            viewer = wait_until_playable(node, "open", 40)
            segment = viewer.playlist().media[-1].uri
            for url in (node.playback_url("open"), viewer.variants[0], segment):
                with self.subTest(url):
                    answer = fetch(url, headers={"Origin": "http://elsewhere.example"})
                    self.assertEqual((answer.status, answer.headers.get_all("Access-Control-Allow-Origin")), (200, ["*"]))
                    self.assertNotIn(node.token.encode(), answer.body)
                    coded = fetch(url, headers={"Accept-Encoding": "gzip"})
                    if url != segment:
                        self.assertEqual((coded.header("Content-Encoding"), coded.header("Vary")), ("gzip", "Accept-Encoding"))
                        self.assertTrue(gzip.decompress(coded.body).startswith(b"#EXTM3U"))
                    else:
                        self.assertIsNone(coded.header("Content-Encoding"), "a segment gains nothing")
            public = fetch(node.url + "/api/v1/public/streams/open")
            self.assertEqual((public.status, public.json["live"]), (200, True))
            self.assertEqual(set(public.json), {"name", "title", "live"})
            writer = fetch(node.url + "/origin/v1/streams/open/writers/99999999999", "PUT", {"publication": "x"})
            self.assertEqual(writer.status, 401, "only Weir's own workers write to the origin")
            for path in ("/s/open~1/../../../api-token", "/s/..%2f..%2fapi-token", "/s/open~1/1/180p/1.ts/", "/assets/../api-token"):
                for base in (node.url, node.edges[0]):
                    self.assertIn(fetch(base + path).status, (400, 404))
            status = fetch(node.edges[0] + "/status")
            self.assertEqual(status.status, 404, "an edge's figures are not for viewers")
        eventually("offline", lambda: not fetch(node.url + "/api/v1/public/streams/open").json["live"], 15)


if __name__ == "__main__":
    main()
