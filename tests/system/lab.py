"""The lab scenarios of one machine (design notes, cluster.md 12): what the predecessor got wrong comes out right here.

    L3 L4 L5  many tasks start at once: one start each          L12       edits of live tasks
    L6 L8     one key on two servers, hooks doubled             L13-L15   poison targets
    L7 L16    hooks lost, hooks from strangers                  L18       a thousand tasks

Times are those of the notes times three, for a sanitized build on a busy machine; counts are exact.
"""

import contextlib
import os
import shutil
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

from weir_node import PROGRAM, Encoder, NodeCase, Process, Stream, eventually, fetch, main, processes

RESTREAMS = 10
GRACE = 3
TRIALS = 40


class Lab(NodeCase):
    SECTIONS = {
        "coordinator": {"publish_grace": f"{GRACE}s"},
        "rtmp_servers": [{"name": name, "kind": "srs", "rtmp_url": "rtmp://127.0.0.1:1"} for name in ("south", "north")],
    }

    # The stream `source` is live from the first test on; its restreams go to streams of the same node.

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.targets = [cls.node.add_stream(f"out{i}") for i in range(RESTREAMS)]
        cls.source = cls.node.add_stream("source")
        cls.tasks = [cls.node.add_task(cls.source, "restream", {"url": cls.target(i)}, name=f"restream {i}") for i in range(RESTREAMS)]
        cls.encoder = None

    @classmethod
    def target(cls, i, more=""):
        return cls.node.publish_url(f"out{i}", cls.targets[i].key) + more

    @classmethod
    def publish_source(cls):
        if not cls.encoder:
            cls.encoder = Encoder(cls.node, "source", cls.source.key, insists=True)
            cls.addClassCleanup(cls.encoder.stop)

    def setUp(self):
        if self._testMethodName < "test_9":
            self.publish_source()

    def wait_until_all_run(self, within):
        def all_run():
            shown = self.node.items(f"/api/v1/streams/{self.source.id}/tasks")
            late = [(t["name"], t["phase"], t["reason"], t["last_error"]) for t in shown if t["id"] in self.tasks and t["phase"] != "running"]
            assert not late, late
            return True

        eventually("all restreams run", all_run, within)

    def runs(self):
        """What must not change when something else does: process, epoch and number of starts of each task."""
        pids = {a["name"].split("/", 1)[1]: a["status"]["pid"] for a in self.node.actors("transcoder")}
        shown = {t["id"]: t for t in self.node.items(f"/api/v1/streams/{self.source.id}/tasks")}
        return {id: (pids.get(id, 0), shown[id]["epoch"], shown[id]["attempts"]) for id in self.tasks}

    def wait_for_output_of(self, ids):
        """Returns when each of the tasks has put out more than now: whatever was going to happen to it has happened."""
        before = {id: self.node.task(id)["progress"]["output_bytes"] for id in ids}
        eventually("more output", lambda: all(self.node.task(id)["progress"]["output_bytes"] > before[id] for id in ids), 10)

    # --- L3, L4, L5

    def test_1_ten_restreams_start_with_ten_starts(self):
        self.source.wait_for_phase("live", 10)
        began = time.monotonic()
        eventually("all have a process", lambda: all(pid for pid, _, _ in self.runs().values()), 30)
        took = time.monotonic() - began
        self.wait_until_all_run(30)
        print(f"{RESTREAMS} restreams: each has a process {took:.1f} s after the publication, all put out after {time.monotonic() - began:.1f} s", file=sys.stderr)
        runs = self.runs()
        self.assertEqual([attempts for _, _, attempts in runs.values()], [1] * RESTREAMS)
        self.assertEqual(len({epoch for _, epoch, _ in runs.values()}), RESTREAMS)
        self.assertEqual(len(self.pipelines()), RESTREAMS, "one process for each task, none besides")
        placed = [e["subject"] for e in self.node.events("task-placed")]
        self.assertEqual(sorted(placed), sorted(f"task/{id}" for id in self.tasks), "ten grants for ten tasks")
        for target in self.targets:
            target.wait_for_phase("live", 5)
        self.wait_for_output_of(self.tasks)
        self.assertEqual(self.runs(), runs, "none was disturbed")
        self.assertLess(took, 4.5)

    def pipelines(self):
        return processes(lambda p: p.session in self.node.sessions and "weir-pipeline" in p.command)

    # --- L12

    def test_2_editing_a_live_task_disturbs_nobody(self):
        node, first, second = self.node, *self.tasks[:2]
        runs = self.runs()

        node.change("PATCH", f"/api/v1/tasks/{first}", {"name": "another name", "comment": "and a comment"})
        node.change("PATCH", f"/api/v1/streams/{self.source.id}", {"title": "A title", "comment": "and a comment"})
        shown = node.task(first)
        node.change("PUT", f"/api/v1/tasks/{first}", shown)  # what GET shows may come back, masked secrets and all
        self.wait_for_output_of(self.tasks)
        self.assertEqual(node.task(first)["name"], "another name")
        self.assertEqual(self.runs(), runs, "a name or a comment restarts nothing")

        node.change("PATCH", f"/api/v1/tasks/{first}", {"options": {"url": self.target(0, "&take=2")}})
        eventually("the edited task runs anew", lambda: self.runs()[first][1] != runs[first][1] and node.task(first)["phase"] == "running", 15)
        others = {id: run for id, run in runs.items() if id != first}
        self.assertEqual({id: run for id, run in self.runs().items() if id != first}, others, "another target restarts one task")

        node.change("PATCH", f"/api/v1/tasks/{second}", {"enabled": False})
        eventually("the disabled task ends", lambda: self.runs()[second][0] == 0 and node.task(second)["phase"] in ("waiting", "done"), 8)
        self.targets[1].wait_for_phase("offline", 10)
        node.change("PATCH", f"/api/v1/tasks/{second}", {"enabled": True})
        node.wait_for_task(second, "running", 15)
        others = {id: run for id, run in others.items() if id != second}
        self.wait_for_output_of(others)
        self.assertEqual({id: run for id, run in self.runs().items() if id in others}, others, "a switched task leaves the others alone")

        extra = node.add_task(self.source, "restream", {"url": "rtmp://127.0.0.1:1/nobody/listens"})
        failing = eventually("the dead target is noticed", lambda: (t := node.task(extra))["last_cause"] != "none" and t, 15)
        self.assertEqual((failing["last_cause"], failing["phase"] in ("backing_off", "starting", "crash_looping")), ("target_unreachable", True), failing)
        self.wait_for_output_of(others)
        node.change("DELETE", f"/api/v1/tasks/{extra}")
        eventually("its process is gone", lambda: len(self.pipelines()) == RESTREAMS, 8)
        self.assertEqual({id: run for id, run in self.runs().items() if id in others}, others, "a failing task leaves the others alone")

    # --- L13, L14, L15

    def test_3_poison_targets_are_refused_or_run_harmlessly(self):
        node = self.node
        trap = os.path.join(node.folder, "trap")
        runs = self.runs()
        refused = {
            "spaces": f"rtmp://127.0.0.1/live/x -f flv {trap}",
            "newline": f"rtmp://127.0.0.1/live/x\n[program:evil]\ncommand=touch {trap}",
            "carriage return": "rtmp://127.0.0.1/live/x\r\nevil",
            "tab": "rtmp://127.0.0.1/live/x\ty",
            "a program section": f"x; [program:evil] command=touch {trap}",
            "a shell": f"rtmp://127.0.0.1/live/`touch {trap}`",
            "a pipe": f"rtmp://127.0.0.1/live/x|tee {trap}",
            "a broken escape": "rtmp://127.0.0.1/live/%zz",
            "a file": f"file://{trap}", "a path": trap, "a protocol of libav": "concat:/etc/passwd|/etc/shadow", "another": f"tee:rtmp://127.0.0.1/a/b|{trap}",
            "http": "http://127.0.0.1/live/x", "an option": "-y", "empty": "", "no host": "rtmp:///live/x", "no application": "rtmp://127.0.0.1",
            "NUL": "rtmp://127.0.0.1/live/x\0y", "too long": "rtmp://127.0.0.1/live/" + "x" * 5000, "no text": 7,
        }
        before = len(node.items(f"/api/v1/streams/{self.source.id}/tasks"))
        for what, url in refused.items():
            with self.subTest(what):
                answer = node.call("POST", f"/api/v1/streams/{self.source.id}/tasks", {"type": "restream", "options": {"url": url}})
                self.assertIn(answer.status, (400, 422))
                self.assertEqual(answer.header("Content-Type"), "application/problem+json")
                self.assertEqual([e["pointer"] for e in answer.json["errors"]], ["/options/url"])
                edited = node.call("PATCH", f"/api/v1/tasks/{self.tasks[0]}", {"options": {"url": url}})
                self.assertIn(edited.status, (400, 422))
        self.assertEqual(len(node.items(f"/api/v1/streams/{self.source.id}/tasks")), before)

        with self.subTest("escapes and semicolons are part of an address and run"):
            node.change("PATCH", f"/api/v1/tasks/{self.tasks[2]}", {"options": {"url": self.target(2, "&note=a%2Fb%0A;$(touch%20trap);%5Bprogram%5D")}})
            eventually("it runs", lambda: self.runs()[self.tasks[2]][1] != runs[self.tasks[2]][1] and node.task(self.tasks[2])["phase"] == "running", 15)
            self.targets[2].wait_for_phase("live", 8)

        with self.subTest("a target that accepts and stays silent"), socket.create_server(("127.0.0.1", 0)) as sink:
            silent = node.add_task(self.source, "restream", {"url": f"rtmp://127.0.0.1:{sink.getsockname()[1]}/app/key"})
            shown = eventually("it is told", lambda: (t := node.task(silent))["last_cause"] != "none" and t, 40)
            self.assertNotEqual(shown["phase"], "running")
            self.assertIn(shown["last_cause"], ("target_unreachable", "target_refused", "hung"))
            node.change("DELETE", f"/api/v1/tasks/{silent}")
            eventually("its process is gone", lambda: len(self.pipelines()) == RESTREAMS, 8)

        self.assertFalse(os.path.exists(trap))
        others = self.tasks[3:]
        self.wait_for_output_of(others)
        self.assertEqual({id: self.runs()[id] for id in others}, {id: runs[id] for id in others}, "nobody else was disturbed")

    def test_4_no_target_key_is_seen(self):
        node = self.node
        keys = [t.key for t in self.targets]
        shown = "".join(node.call("GET", path).text for path in ("/api/v1/tasks", f"/api/v1/streams/{self.source.id}/tasks", "/introspect", "/api/v1/events", "/api/v1/streams"))
        commands = "\n".join(p.command for p in node.survivors())
        self.assertIn("weir-pipeline", commands)
        for where, text in (("the API", shown), ("command lines", commands), ("the log", node.log())):
            for key in keys + [self.source.key]:
                self.assertNotIn(key, text, f"a key is in {where}")

    def test_4b_a_target_behind_tls(self):
        """rtmps: what leaves the machine is encrypted, and arrives."""
        secret = tempfile.mkdtemp(prefix="weir-tls-")
        self.addCleanup(shutil.rmtree, secret)
        for words in (["init-ca"], ["issue", "localhost"]):
            subprocess.run([PROGRAM, "cluster", *words, "--dir", secret], stdout=subprocess.DEVNULL, check=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{secret}/localhost.pem", f"{secret}/localhost.key")
        node, taken = self.node, []

        class Ending(socketserver.BaseRequestHandler):
            """Takes TLS off and passes the rest on to the node's RTMP server."""

            def handle(self):
                with contextlib.suppress(OSError), context.wrap_socket(self.request, server_side=True) as inside, socket.create_connection(("127.0.0.1", node.rtmp_port)) as plain:
                    taken.append(inside.version())
                    back = threading.Thread(target=self.copy, args=(plain, inside), daemon=True)
                    back.start()
                    self.copy(inside, plain)

            @staticmethod
            def copy(come, go):
                with contextlib.suppress(OSError):
                    while data := come.recv(65536):
                        go.sendall(data)

        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Ending) as server:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.addCleanup(server.shutdown)
            target = node.add_stream("encrypted")
            task = node.add_task(self.source, "restream", {"url": f"rtmps://localhost:{server.server_address[1]}/live/encrypted?key={target.key}"})
            node.wait_for_task(task, "running", 20)
            target.wait_for_phase("live", 10)
            self.assertTrue(taken and taken[0].startswith("TLSv1."), taken)
            node.change("DELETE", f"/api/v1/tasks/{task}")
            target.wait_for_phase("offline", 15)

    # --- L6, L8

    def hook(self, server, call, client, stream, service="boot-1"):
        body = {"action": "on_" + call, "server_id": server, "service_id": service, "client_id": client, "ip": "192.0.2.7", "vhost": "__defaultVhost__", "app": "live",
                "stream": stream.name, "param": f"?key={stream.key}", "tcUrl": "rtmp://x/live", "stream_url": f"/live/{stream.name}", "stream_id": "vid-1"}
        return fetch(f"{self.node.url}/hooks/srs?server={server}", "POST", body)

    def at_once(self, *calls):
        """Makes the calls from threads that start together; returns their results."""
        barrier, results = threading.Barrier(len(calls)), [None] * len(calls)

        def one(i):
            barrier.wait()
            results[i] = calls[i]()

        threads = [threading.Thread(target=one, args=(i,)) for i in range(len(calls))]
        for t in threads:
            t.start()
        for t in threads:
            t.join(10)
        return results

    def test_5_the_same_key_on_two_servers_at_once(self):
        stream = self.node.add_stream("double")
        everyone = [(server, f"{server}-client") for server in ("south", "north")]
        for trial in range(TRIALS):
            answers = self.at_once(*[lambda s=s, c=c: self.hook(s, "publish", c, stream) for s, c in everyone * 2])  # each doubled
            self.assertEqual([a.body for a in answers], [b"0"] * 4)
            two = eventually("a set of two", lambda: len((s := stream.status())["publishers"]) == 2 and s, 2, every=0.01)
            self.assertEqual(sorted((p["server"], p["client_id"]) for p in two["publishers"]), sorted(everyone), trial)
            self.at_once(*[lambda s=s, c=c: self.hook(s, "unpublish", c, stream) for s, c in everyone * 2])
            eventually("nobody", lambda: stream.status()["phase"] == "ending", 2, every=0.01)

    def test_6_one_of_two_leaves_and_its_hook_is_doubled(self):
        """The real one is on our own server; of the other only its hooks are seen."""
        self.wait_until_all_run(20)
        runs = self.runs()
        for _ in range(5):
            self.assertEqual(self.hook("south", "publish", "guest", self.source).body, b"0")
            eventually("two publish", lambda: len(self.source.status()["publishers"]) == 2, 2)
            self.at_once(*[lambda: self.hook("south", "unpublish", "guest", self.source)] * 2)
            eventually("one is left", lambda: len(self.source.status()["publishers"]) == 1, 2)
        self.assertEqual(self.source.status()["phase"], "live")
        self.wait_for_output_of(self.tasks)
        self.assertEqual(self.runs(), runs, "no task touched")

    # --- L7, L16

    def nginx_hook(self, call, client, stream):
        ingest = self.node.actors("ingest")[0]["status"]
        body = urllib.parse.urlencode({"app": "live", "flashver": "x", "tcurl": "rtmp://x/live", "addr": "192.0.2.7", "clientid": client, "call": call, "name": stream.name,
                                       "key": stream.key})
        return fetch(f"{self.node.url}/hooks/nginx-rtmp?server=lab&service={ingest['service']}", "POST", body.encode(), {"Content-Type": "application/x-www-form-urlencoded"})

    def test_7_a_strangers_farewell_is_ignored(self):
        runs = self.runs()
        for client in ("999999", "0", "1e9"):
            self.nginx_hook("publish_done", client, self.source)
            self.hook("north", "unpublish", client, self.source)
        self.wait_for_output_of(self.tasks)
        self.assertEqual(self.source.status()["phase"], "live")
        self.assertEqual(self.runs(), runs)

    def test_8_a_lost_farewell_is_made_good_by_the_servers_list(self):
        """A publisher whose farewell was lost is forgotten; the tasks end with the real end."""
        self.assertEqual(self.nginx_hook("publish", "424242", self.source).status, 200)
        eventually("the ghost counts", lambda: len(self.source.status()["publishers"]) == 2, 2)
        self.encoder.stop()
        self.__class__.encoder = None
        ended = time.monotonic()
        self.source.wait_for_phase("ending", 6)
        took = time.monotonic() - ended
        eventually("all tasks wait", lambda: {t["phase"] for t in self.node.items(f"/api/v1/streams/{self.source.id}/tasks")} <= {"waiting", "done"}, GRACE + 6)
        eventually("no process is left", lambda: not self.pipelines(), 3)
        print(f"lost farewell: nobody counts as publisher {took:.1f} s after the real end", file=sys.stderr)
        self.source.wait_for_phase("offline", 2)

        with self.subTest("a clean publication begins anew, with one start for each task"):
            self.publish_source()
            self.wait_until_all_run(30)
            self.assertEqual([attempts for _, _, attempts in self.runs().values()], [1] * RESTREAMS)
            self.assertEqual(len(self.source.status()["publishers"]), 1)

    def test_8b_a_restarted_ingest_server_has_new_publishers_only(self):
        self.wait_until_all_run(20)
        before = self.source.status()["publishers"]
        os.kill(self.node.nginx_master("ingest"), signal.SIGKILL)
        eventually("the encoder is back", lambda: (p := self.source.status()["publishers"]) and len(p) == 1 and p[0]["since"] != before[0]["since"], 20)
        self.wait_until_all_run(40)
        self.assertEqual(len(self.pipelines()), RESTREAMS)
        self.encoder.stop()
        self.source.wait_for_phase("offline", GRACE + 8)
        eventually("no process is left", lambda: not self.pipelines(), 8)

    # --- L18

    def test_9_a_thousand_tasks(self):
        node, resident = self.node, self._resident()
        streams, tasks = 100, 10
        began = time.monotonic()
        for i in range(streams):
            shown = node.change("POST", "/api/v1/streams", {"name": f"many{i}"})
            stream = Stream(node, shown, "")
            for j in range(tasks):
                node.add_task(stream, "restream", {"url": f"rtmp://192.0.2.{j}/app/key"})
        took = time.monotonic() - began
        waits = []
        for path in ("/api/v1/tasks?limit=1000", "/api/v1/streams?limit=1000", "/api/v1/nodes", "/introspect", "/metrics", "/readyz") * 3:
            asked = time.monotonic()
            answer = node.call("GET", path, timeout=20)
            self.assertEqual((path, answer.status), (path, 200))
            waits.append(time.monotonic() - asked)
        listed = node.items("/api/v1/tasks")
        self.assertEqual(len([t for t in listed if t["phase"] == "waiting"]), streams * tasks + RESTREAMS)
        self.assertEqual(self.pipelines(), [])
        grown = self._resident() - resident
        ticks, window = Process(node.process.pid).ticks, time.monotonic()
        eventually("five seconds at rest", lambda: time.monotonic() - window > 5, 6)
        busy = (Process(node.process.pid).ticks - ticks) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - window)
        print(f"1,000 tasks: created in {took:.1f} s, slowest answer {max(waits):.2f} s, {grown / 1e6:.0f} MB more, {busy:.2f} cores at rest", file=sys.stderr)
        self.assertLess(took, 90)
        self.assertLess(max(waits), 3)
        self.assertLess(grown, 400e6)
        self.assertLess(busy, 0.6)

        with self.subTest("one of them publishes and only its tasks start"):
            stream = Stream(node, *self._shown("many50"))
            with Encoder(node, "many50", stream.key):
                stream.wait_for_phase("live", 10)
                eventually("its ten have processes", lambda: len(self.pipelines()) == tasks, 15)
                busy_streams = {t["stream_id"] for t in node.items("/api/v1/tasks") if t["phase"] != "waiting"}
                self.assertEqual(busy_streams, {stream.id})
            stream.wait_for_phase("offline", GRACE + 8)

    def _shown(self, name):
        shown = next(s for s in self.node.items("/api/v1/streams") if s["name"] == name)
        return shown, self.node.get(f"/api/v1/streams/{shown['id']}/key")["key"]

    def _resident(self):
        with open(f"/proc/{self.node.process.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
