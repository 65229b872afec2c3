"""A cluster of real processes under random faults (issue 3): seeded, replayable, judged all the time by chaos_invariants.py.

    boss    coordinator      media   ingest, origin, director      side   ingest      w1, w2, w3   workers      cache   two edges

    python3 -B tests/system/chaos.py [--seed N] [--faults N] [--only KIND,…] [--tls] [--go-on] [--show]     also WEIR_CHAOS_SEED, WEIR_CHAOS_FAULTS

Without a seed it draws one, and says which; 200 faults take two minutes, `--faults 2000` twenty: a run ends when all of its plan is done.

Each node has a network namespace and an address of its own; where these cannot be made, nothing is cut and all live on this machine's loopback.
Two senders, `alpha` to two RTMP servers and with a standby encoder, `beta` to one; each with an HLS task and a restream to a sink of our own, which
every worker reaches unless its own cable is out. `plan(seed, count)` is a pure function: which faults, when, on what, for how long; targets are
stable names. `--show` prints it. When a judge finds a breach the run ends with the seed, all faults with their times, what was seen, and the nodes'
logs; with `--go-on` it goes on and tells all of them at the end.
"""

import argparse
import calendar
import collections
import concurrent.futures
import contextlib
import hashlib
import heapq
import http.client
import os
import random
import re
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

import chaos_invariants as invariants
from chaos_plan import ASKED_FOR, CUTS, HARMLESS, HEAVY, LIGHT, NODES, SERVERS, STANDING_BY, STREAMS, TASKS, WORKERS, plan
from chaos_sink import Sink
from cluster import Member, weir
from network import Network
from weir_node import Encoder, Linter, LoggedCase, Player, Playlist, Process, TwoWayEncoder, Viewer
from weir_node import eventually, fetch, free_ports, processes, start_together, wait_until_playable

GRACE = 20          # seconds that a sender may be away
SETTLED_WITHIN = 25
CAUSE_LASTS = 10    # seconds after a fault in which what happens may be its doing
MEMORY_LIMIT = 800 << 20

# --- those who watch --------------------------------------------------------------------------------------------------------------


class Watch(threading.Thread):
    """Looks again and again until it is stopped."""

    def __init__(self, name, every, look):
        super().__init__(name=name, daemon=True)
        self.every, self.look = every, look
        self.error = None
        self._done = threading.Event()

    def run(self):
        while not self._done.is_set():
            try:
                self.look()
            except Exception as e:  # whoever watches must not go blind: the run ends with this
                self.error = e
                raise
            self._done.wait(self.every)

    def stop(self):
        self._done.set()
        self.join(15)


class Log:
    """The lines of a node's log that are new."""

    def __init__(self, node):
        self.node, self.at, self.rest = node, 0, ""

    def lines(self):
        with open(self.node.log_file, "rb") as f:
            f.seek(self.at)
            data = f.read()
        self.at += len(data)
        *lines, self.rest = (self.rest + data.decode(errors="replace")).split("\n")
        return lines


TROUBLE = (OSError, http.client.HTTPException, ValueError, KeyError, AssertionError)


class Lab:
    """The cluster with its senders, sink and watches."""

    GOES_ON = False

    def __init__(self, tls, network, cleanup):
        """`network`: the class whose network the nodes live in, or nothing."""
        self.network = network
        self.began = time.time()
        folder = None
        if tls:
            where = tempfile.TemporaryDirectory(prefix="weir-ca-")
            cleanup(where.cleanup)
            folder = os.path.join(where.name, "ca")
            weir("cluster", "init-ca", "--dir", folder, "--name", "hall")
            weir("cluster", "issue", "--dir", folder, *NODES)
        Member.authority = folder
        self.cluster_port = free_ports(1)
        self.host = network.HOST if network else "127.0.0.1"
        places = {name: network.place(n) if network else {} for n, name in enumerate(NODES)}
        door = f"{places['boss'].get('host', self.host)}:{self.cluster_port}"
        plain = {} if tls else {"cluster": {"ca": "", "certificate": "", "key": "", "insecure": True}}
        common = {"coordinator": {"publish_grace": f"{GRACE}s"}, "origin": {"profile": "short"}, **plain}
        # However often a task is hit it is tried again each 8 s: that is the bound that it is held to.
        worker = {"cores": 4, "retry_longest": "8s"}
        around = network.NETWORK if network else "127.0.0.0/8"
        rtmp = {"hooks": {"allow": [around], "without_coordinator": "known_keys"}, "ingest": {"play_allow": [around]}}

        def make(name, roles, **more):
            sections = {k: dict(v) if isinstance(v, dict) else v for k, v in {**common, **more}.items()}
            self.node[name] = Member(name, roles, door, **sections, **places[name])

        self.node = {}
        make("boss", ["coordinator"], listens=True)
        make("media", ["ingest", "origin", "director"], **rtmp)
        make("side", ["ingest"], **rtmp)
        for name in WORKERS:
            make(name, ["worker"], worker=worker)
        make("cache", ["edge"], edge={"instances": 2, "origins": [self.node["media"].url]})
        self.boss, self.media, self.cache = (self.node[n] for n in ("boss", "media", "cache"))
        for node in self.node.values():
            cleanup(node.remove)
        self.sink = Sink(self.clock, self.host)
        self.sink.start()
        cleanup(self.sink.stop)
        self.logs = {name: Log(node) for name, node in self.node.items()}
        self.children = {}   # pid → (task's name, node)
        self.ids, self.names, self.senders = {}, {}, {}
        self.services = {}   # RTMP server → its nginx' name for this start of it
        self.breaches = []
        self.playlists = {}
        self.longest = collections.defaultdict(float)
        self.memory = collections.defaultdict(int)
        self.missed = collections.Counter()
        self.down = set()    # nodes whose program is not there now
        self.observations = []
        self.sources = {}
        self.events = []
        self.lock = threading.Lock()
        self.watches = []

    def clock(self):
        """Seconds since the lab was made, on the clock of the events."""
        return time.time() - self.began

    def start(self, cleanup):
        start_together(self.node.values())
        eventually("all are there", lambda: {n["name"]: n["phase"] for n in self.boss.items("/api/v1/nodes")} == {n: "ready" for n in NODES}, 30)
        self.streams = {}
        for name, ladder in zip(STREAMS, ("small", "low")):
            stream = self.streams[name] = self.boss.add_stream(name)
            standby = f"hls-{name}" in STANDING_BY
            self.ids[f"hls-{name}"] = self.boss.add_task(stream, "hls", {"ladder": ladder, "profile": "short", "standby": standby})
            url = f"rtmp://{self.host}:{self.sink.port}/live/{self.target(name)}"
            self.ids[f"push-{name}"] = self.boss.add_task(stream, "restream", {"url": url})
        self.names = {id: name for name, id in self.ids.items()}
        for name, stream in self.streams.items():
            servers = [self.node[n] for n in SERVERS[name]]
            kind, where = (TwoWayEncoder, servers) if servers[1:] else (Encoder, servers[0])
            self.senders[name] = kind(where, name, stream.key, insists=True)
        for sender in self.senders.values():
            cleanup(sender.stop)
        for name in STREAMS:
            self.playlists[name] = invariants.PlaylistJudge(name)
        self.event_judge = invariants.EventJudge({self.ids[t]: t.split("-")[1] for t in TASKS}, CAUSE_LASTS)
        self.process_judge = invariants.ProcessJudge(3.0)
        self.event_judge.faults.append(invariants.Fault("start", tuple(NODES) + tuple(f"stream/{s}" for s in STREAMS), 0, self.clock()))
        viewers = {name: wait_until_playable(self.media, name, 60) for name in STREAMS}
        self.wait_until_settled(30)
        self.watches = [Watch("state", 0.4, self.look_at_state), Watch("machine", 0.7, self.look_at_machine), Watch("time", 0.02, self.look_at_time)]
        self.watches += [Watch(f"viewer of {n}", 0.5, self.viewing(n, v)) for n, v in viewers.items()]
        self._tick = time.monotonic()
        self.watches += [Linter(self.media, STREAMS[0]), Player(viewers[STREAMS[0]], 2)]
        self.linter, self.player = self.watches[-2:]
        for watch in self.watches:
            cleanup(watch.stop)
            watch.start()

    @staticmethod
    def target(stream):
        """Under which name it is published at the sink."""
        return f"{stream}-target"

    # what is seen

    def viewing(self, name, viewer):
        judge, newest = self.playlists[name], [0, self.clock()]

        def look():
            nonlocal viewer
            if judge.ended and self.GOES_ON:
                with contextlib.suppress(*TROUBLE):  # the breach is known: a player that is started anew sees the next instance
                    viewer = Viewer(self.media, name)
            for variant, url in enumerate(viewer.variants):
                try:
                    answer = fetch(url, timeout=3)
                    if answer.status != 200:
                        self.missed[f"playlist: {answer.status}"] += 1
                        if answer.status not in (503, 504):
                            self.breaches.append(f"{self.clock():.1f} playlist of {name}: {answer} at {url}")
                        continue
                    list_ = Playlist(url, answer.text)
                except TROUBLE as e:
                    self.missed[f"playlist: {type(e).__name__}"] += 1
                    continue
                first = list_.entries[0]
                entries = [invariants.Listed(e.msn, e.dsn, e.uri, e.gap, e.discontinuity) for e in list_.entries]
                rung = url.split("/p/")[1].removesuffix(".m3u8")  # with bucket and pathway: each has addresses of its own
                judge.take(self.clock(), rung, first.msn, first.dsn - first.discontinuity, entries, list_.ended)
                last = list_.media[-1] if list_.media else None
                if variant == 0 and last and last.msn != newest[0]:
                    self.longest[name] = max(self.longest[name], self.clock() - newest[1])
                    newest[:] = last.msn, self.clock()
                    with contextlib.suppress(OSError, http.client.HTTPException):
                        got = fetch(last.uri, timeout=2)
                        self.missed[f"segment: {got.status}"] += 1
                        if got.status == 200:
                            judge.take_content(self.clock(), last.uri, hashlib.sha256(got.body).hexdigest()[:16])

        return look

    def look_at_state(self):
        begin = self.clock()
        try:
            phases = {}
            for path, subject, key in (("tasks", "task", "id"), ("nodes", "node", "name"), ("streams", "stream", "name"), ("edges", "edge", "name")):
                answer = self.boss.call("GET", f"/api/v1/{path}", timeout=2)
                if answer.status != 200:
                    raise ValueError(answer)
                phases.update({f"{subject}/{one[key]}": one["phase"] for one in answer.json["items"]})
                if path == "streams":
                    sources = {one["name"]: {(p["server"], p["client_id"]) for p in one["publishers"]} for one in answer.json["items"]}
            end = self.clock()
            last = self.event_judge.last_number
            answer = self.boss.call("GET", "/api/v1/events" + (f"?after={last}" if last else ""), timeout=2)
            if answer.status != 200:
                raise ValueError(answer)
        except TROUBLE as e:
            self.missed[f"state: {type(e).__name__}"] += 1
            return
        with self.lock:
            if self.observations:
                self.event_judge.sources += [(self.observations[-1][0], end, name) for name, now in sources.items() if now != self.sources.get(name)]
            self.sources = sources
            self.observations.append((begin, end, phases))
            for event in answer.json["items"]:
                if event["number"] > self.event_judge.last_number:
                    when = self.moment(event["at"])
                    self.events.append((when, event["kind"], event["subject"]))
                    self.event_judge.take(event, when)

    def moment(self, text):
        """An event's time on our clock."""
        seconds, _, fraction = text.removesuffix("Z").partition(".")
        return calendar.timegm(time.strptime(seconds, "%Y-%m-%dT%H:%M:%S")) + float("0." + (fraction or "0")) - self.began

    def look_at_machine(self):
        self.read_logs()
        sessions = {s: name for name, node in self.node.items() for s in node.sessions}
        nodes, pipelines = set(), {}
        for process in processes(lambda p: p.session in sessions):
            if process.pid in sessions:
                nodes.add(process.pid)
                with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{process.pid}/statm", encoding="ascii") as f:
                    name = sessions[process.pid]
                    self.memory[name] = max(self.memory[name], int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
            elif "weir-pipeline" in process.command:
                pipelines[process.pid] = process.parent
        self.process_judge.take(self.clock(), pipelines, nodes)

    def look_at_time(self):
        """A machine that stands still is a fault of its own and hits everybody."""
        now = time.monotonic()
        if now - self._tick > 1.0:
            self.event_judge.faults.append(invariants.Fault("standstill", (*NODES, *(f"stream/{s}" for s in STREAMS)), self.clock() - (now - self._tick), self.clock()))
            self.longest["standstill"] = max(self.longest["standstill"], now - self._tick)
        self._tick = now

    def read_logs(self):
        with self.lock:
            for name, log in self.logs.items():
                for line in log.lines():
                    if started := re.search(r"transcoder\s+started task=([^\s~]+)(?:~standby)? run=\d+ pid=(\d+)", line):
                        self.children[int(started[2])] = (self.names.get(started[1], started[1]), name)
                    if begun := re.search(r"ingest\s+nginx-started .*service=(\S+)", line):
                        self.services[name] = begun[1]
                    self.breaches += [f"{self.clock():.1f} {b}" for b in invariants.bad_lines(name, line)]

    def found(self):
        """Everything that any judge has found so far."""
        with self.lock:
            self.event_judge.resolve(self.clock())
            found = self.breaches + self.event_judge.breaches + self.process_judge.breaches
        for judge in self.playlists.values():
            found = found + judge.breaches
        pushes = self.sink.pushes(self.clock() - 30)
        found += invariants.two_at_once(pushes, 3)
        if self.network:
            hosts = {node.host: name for name, node in self.node.items()}
            with self.lock:
                moves = {self.target(s): list(self.event_judge.moves[self.ids[f"push-{s}"]]) for s in STREAMS}
                known = self.observations[-1][0] if self.observations else 0
            found += invariants.trespasses([(p, hosts[p.who.split(":")[0]]) for p in pushes], moves, known, 3)
        found += invariants.swollen(dict(self.memory), MEMORY_LIMIT)
        found += [f"{watch.name} cannot watch: {watch.error!r}" for watch in self.watches if isinstance(watch, Watch) and watch.error]
        return found

    def child_of(self, task, draw):
        """(pid, node) of a process that works for a task now, (0, "") when there is none; of two that do the draw names one."""
        self.read_logs()
        found = [(pid, node) for node in WORKERS for pid in self.node[node].pipelines() if self.children.get(pid) == (task, node)]
        return found[draw % len(found)] if found else (0, "")

    def running(self):
        """[(task, node)] of all processes that work for tasks."""
        self.read_logs()
        found = []
        for name, node in self.node.items():
            found += [(self.children.get(pid, (f"nobody (pid {pid})",))[0], name) for pid in node.pipelines()]
        return found

    def wait_until_settled(self, within):
        def settled():
            tasks = {self.names[t["id"]]: t for t in self.boss.items("/api/v1/tasks")}
            late = [(name, t["phase"], t["node"], t["reason"], t["last_cause"], t["last_error"]) for name, t in tasks.items() if t["phase"] != "running"]
            standbys = {name: t["standby"] for name, t in tasks.items() if t["standby"]}
            late += [(name, standby) for name, standby in standbys.items() if name not in STANDING_BY or standby["phase"] != "running"]
            late += [(name, "no standby") for name in STANDING_BY if name not in standbys]
            assert not late, late
            phases = {n["name"]: n["phase"] for n in self.boss.items("/api/v1/nodes")}
            assert phases == {n: "ready" for n in NODES}, phases
            phases = {s["name"]: s["phase"] for s in self.boss.items("/api/v1/streams")}
            assert phases == {s: "live" for s in STREAMS}, phases
            seats = {name: [t["node"], *([standbys[name]["node"]] if name in standbys else [])] for name, t in tasks.items()}
            wrong = invariants.wrong_processes(seats, self.running())
            assert not wrong, wrong
            return True

        eventually("all tasks run, each in one process on the node that the coordinator names", settled, within)


# --- those who break ------------------------------------------------------------------------------------------------------------


class Breaker:
    """Does what the plan says. What must be done by the main thread (starting nodes) is done there, what may wait for an answer in threads."""

    def __init__(self, lab):
        self.lab = lab
        self.pool = concurrent.futures.ThreadPoolExecutor(24, "breaker")
        self.pending = []
        self.queue = []      # (moment, order, action): what is due
        self.order = 0
        self.done = []       # (fault, when, what it was)
        self.failures = []

    def later(self, seconds, action, *arguments):
        self.order += 1
        heapq.heappush(self.queue, (self.lab.clock() + seconds, self.order, lambda: action(*arguments)))

    def due(self):
        while self.queue and self.queue[0][0] <= self.lab.clock():
            heapq.heappop(self.queue)[2]()

    def in_thread(self, action, *arguments):
        def guarded():
            try:
                action(*arguments)
            except TROUBLE as e:
                return repr(e)[:200]
            return None

        self.pending = [f for f in self.pending if not f.done()]
        self.pending.append(self.pool.submit(guarded))

    def owed(self, what, action, within=60):
        """Undoes something, however long the coordinator is away."""
        def insist():
            try:
                eventually(what, action, within, every=0.3)
            except AssertionError as e:
                self.failures.append(str(e))

        self.pending.append(self.pool.submit(insist))

    def hits(self, fault):
        """Names that the judges know for what a fault touches."""
        kind, target = fault.kind, fault.target
        if target in TASKS:
            return (f"task/{self.lab.ids[target]}",)
        if target in STREAMS:
            return (f"stream/{target}",) + (tuple(f"stream/{s}" for s in STREAMS) if kind == "hook-other-start" else ())
        return (target, *(f"stream/{s}" for s in STREAMS if target in SERVERS[s]))

    def strike(self, fault):
        began = self.lab.clock()
        if fault.kind not in HARMLESS:
            self.lab.event_judge.faults.append(invariants.Fault(fault.kind, self.hits(fault), began, began + fault.lasts))
        what = getattr(self, fault.kind.replace("-", "_"))(fault)
        self.done.append((fault, began, what or ""))

    def finish(self):
        """Returns when everything is undone."""
        while self.queue:
            self.due()
            time.sleep(0.05)  # the schedule's own pace
        concurrent.futures.wait(self.pending, 90)

    def story(self):
        return "\n".join(f"  {f.number:4d} {at:7.2f}  {f.kind:20s} {f.target:12s} {f'{f.lasts:.2f} s' if f.lasts else '':8s} {what}" for f, at, what in self.done)

    # processes of tasks

    def child_kill(self, fault):
        pid, node = self.lab.child_of(fault.target, fault.number)
        if not pid:
            return "no process"
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
        return f"pid {pid} on {node}"

    def child_stop(self, fault):
        pid, node = self.lab.child_of(fault.target, fault.number)
        if not pid:
            return "no process"
        self.signal_for(fault.lasts, [pid])
        return f"pid {pid} on {node}"

    def signal_for(self, lasts, pids):
        def send(which):
            for pid in pids:
                with contextlib.suppress(OSError, ValueError):
                    if Process(pid).session in self.sessions():
                        os.kill(pid, which)

        send(signal.SIGSTOP)
        self.later(lasts, send, signal.SIGCONT)

    def sessions(self):
        return {s for node in self.lab.node.values() for s in node.sessions}

    # nodes

    def worker_kill(self, fault):
        node = self.lab.node[fault.target]
        node.kill()
        self.later(fault.lasts, node.launch)

    boss_kill = worker_kill

    def worker_stop(self, fault):
        node = self.lab.node[fault.target]
        node.pause(True)
        self.later(fault.lasts, node.pause, False)

    worker_blink = boss_stop = boss_blink = worker_stop

    def program_stop(self, fault):
        """The program alone hangs, its children do not."""
        self.signal_for(fault.lasts, [self.lab.node[fault.target].process.pid])

    program_hang = program_stop

    def ingest_kill(self, fault):
        return self.kill_nginx(self.lab.node[fault.target], "ingest")

    def edge_kill(self, fault):
        return self.kill_nginx(self.lab.cache, fault.target)

    def kill_nginx(self, node, what):
        try:
            pid = node.nginx_master(what)
            os.kill(pid, signal.SIGKILL)
        except TROUBLE as e:
            return f"not there: {e}"
        return f"pid {pid}"

    # cables and lines

    def cable_cut(self, fault):
        node = self.lab.node[fault.target]
        self.lab.network.plug(node, "down")
        self.later(fault.lasts, self.lab.network.plug, node, "up")

    cable_blink = origin_cut = cable_cut

    def drop(self, fault, pairs):
        """`pairs`: who sends, and to which address it is lost."""
        for sender, address in pairs:
            self.lab.network.drop(sender, address, True, fault.number)
            self.later(fault.lasts, self.lab.network.drop, sender, address, False, fault.number)

    def muted(self, fault):
        """What it sends is lost, to whomever."""
        node = self.lab.node[fault.target]
        self.drop(fault, [(node, other) for other in self.addresses() if other != node.host])

    def deafened(self, fault):
        """What is sent to it is lost, by whomever."""
        node = self.lab.node[fault.target]
        self.drop(fault, [(other, node.host) for other in (None, *self.lab.node.values()) if other is not node])

    def addresses(self):
        return [self.lab.host, *(node.host for node in self.lab.node.values())]

    def line_mute(self, fault):
        """The coordinator does not hear the worker, everybody else does: also the sink."""
        self.drop(fault, [(self.lab.node[fault.target], self.lab.boss.host)])

    def line_deaf(self, fault):
        self.drop(fault, [(self.lab.boss, self.lab.node[fault.target].host)])

    def line_cut(self, fault):
        self.line_mute(fault)
        self.line_deaf(fault)

    # senders

    def sender_kill(self, fault):
        shell = self.lab.senders[fault.target].process.pid
        if fault.lasts:
            os.kill(shell, signal.SIGSTOP)
            self.later(fault.lasts, os.kill, shell, signal.SIGCONT)
        killed = processes(lambda p: p.parent == shell and p.command.startswith("ffmpeg"))
        for process in killed:
            with contextlib.suppress(OSError):
                os.kill(process.pid, signal.SIGKILL)
        return f"{len(killed)} ended"

    # lies

    def hook(self, server, call, client, stream, key=None, service=None):
        one = self.lab.streams[stream]
        body = urllib.parse.urlencode({"app": "live", "flashver": "x", "tcurl": "rtmp://x/live", "addr": "192.0.2.7", "clientid": client, "call": call, "name": stream,
                                       "key": one.key if key is None else key})
        url = f"{self.lab.node[server].url}/hooks/nginx-rtmp?server={server}&service={service or self.lab.services[server]}"
        return fetch(url, "POST", body.encode(), {"Content-Type": "application/x-www-form-urlencoded"}, timeout=5)

    @staticmethod
    def server(fault):
        """One of those that the stream is published to."""
        return SERVERS[fault.target][fault.number % len(SERVERS[fault.target])]

    def client_of(self, stream, server):
        answer = self.lab.boss.call("GET", f"/api/v1/streams/{self.lab.streams[stream].id}", timeout=2)
        return next((p["client_id"] for p in answer.json["publishers"] if p["server"] == server), "1")

    def hook_ghost_leaves(self, fault):
        self.in_thread(self.hook, self.server(fault), "publish_done", f"99{fault.number}", fault.target)

    def hook_ghost_comes(self, fault):
        self.in_thread(self.hook, self.server(fault), "publish", f"98{fault.number}", fault.target)

    def hook_doubled(self, fault):
        def lie():
            server = self.server(fault)
            client = self.client_of(fault.target, server)
            for _ in range(3):
                self.hook(server, "publish", client, fault.target)

        self.in_thread(lie)

    def hook_false_farewell(self, fault):
        server = self.server(fault)
        self.in_thread(lambda: self.hook(server, "publish_done", self.client_of(fault.target, server), fault.target))

    def hook_reordered(self, fault):
        """Farewell before the welcome, of the client that is there and of one that is not."""
        def lie():
            server = self.server(fault)
            for client in (self.client_of(fault.target, server), f"97{fault.number}"):
                self.hook(server, "publish_done", client, fault.target)
                self.hook(server, "publish", client, fault.target)
                self.hook(server, "publish_done", f"97{fault.number}", fault.target)

        self.in_thread(lie)

    def hook_other_start(self, fault):
        self.in_thread(self.hook, self.server(fault), "publish", f"96{fault.number}", fault.target, None, f"other{fault.number}")

    def hook_wrong_key(self, fault):
        def lie():
            status = self.hook(self.server(fault), "publish", f"95{fault.number}", fault.target, "wrong-key-" + "x" * (fault.number % 50)).status
            if 200 <= status < 300:
                self.lab.breaches.append(f"{self.lab.clock():.1f} fault {fault.number}: a wrong key was accepted with {status}")

        self.in_thread(lie)

    def hook_malformed(self, fault):
        chance = random.Random(fault.number)
        bodies = [b"", b"{", b"call=publish", b"call=publish&name=%zz&app=live&clientid=%00", b"call=" + b"x" * 70000, chance.randbytes(300),
                  b"call=publish&app=live&name=alpha&clientid=" + b"9" * 400, b"[" * 5000, b'{"action":"on_publish","client_id":{}}']

        def lie():
            for way in ("nginx-rtmp", "srs", "nothing"):
                fetch(f"{self.lab.node[fault.target].url}/hooks/{way}?server=media", "POST", chance.choice(bodies), {"Content-Type": "application/x-www-form-urlencoded"}, timeout=5)

        self.in_thread(lie)

    # strangers

    def knock(self, node, port, data, lasts):
        try:
            knocking = socket.create_connection((node.host, port), timeout=1)
        except OSError:
            return "nobody there"
        with contextlib.suppress(OSError):
            knocking.settimeout(1)
            knocking.sendall(data)
        self.later(lasts, knocking.close)
        return f"{len(data)} bytes to port {port}"

    def garbage_cluster(self, fault):
        chance = random.Random(fault.number)
        data = chance.choice([struct.pack(">BBBBIQQQ", chance.randrange(9), 0, 0, 0, chance.choice([0, 1 << 30, 0xffffffff, 64]), 0, 0, 0), b"GET / HTTP/1.1\r\n\r\n",
                              chance.randbytes(4096), b"\x16\x03\x01" + chance.randbytes(300)])
        return self.knock(self.lab.boss, self.lab.cluster_port, data, fault.lasts)

    def garbage_http(self, fault):
        chance = random.Random(fault.number)
        data = chance.choice([b"GET /" + b"a" * 20000, b"POST /hooks/srs HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", chance.randbytes(3000), b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"\0" * 100,
                              b"POST /api/v1/streams HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", b"PUT /origin/v1/streams/alpha/writers/1 HTTP/1.1\r\nHost: x\r\n\r\n",
                              b"GET /p/1.1/alpha~1/180p.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n" * 20])
        node = self.lab.node[fault.target]
        return self.knock(node, node.port, data, fault.lasts)

    def half_open(self, fault):
        node = self.lab.node[fault.target]
        port = self.lab.cluster_port if fault.number % 2 and node is self.lab.boss else node.port
        begun = b"POST /hooks/srs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
        return self.knock(node, port, begun if fault.number % 3 else b"", fault.lasts)

    # operators

    def task_call(self, fault, method, more, body=None):
        answer = self.lab.boss.call(method, f"/api/v1/tasks/{self.lab.ids[fault.target]}{more}", body, timeout=4)
        if answer.status >= 500 and answer.status not in (503, 504):
            self.lab.breaches.append(f"{self.lab.clock():.1f} fault {fault.number}: {answer}")
        return answer

    def edit(self, fault):
        self.in_thread(self.task_call, fault, "PATCH", "", {"name": f"name {fault.number}", "comment": "x" * (fault.number % 100)})

    def retry(self, fault):
        self.in_thread(self.task_call, fault, "POST", "/retry")

    def toggle(self, fault):
        self.in_thread(self.task_call, fault, "PATCH", "", {"enabled": False})
        self.later(fault.lasts, self.owed, f"{fault.target} is enabled", lambda: self.task_call(fault, "PATCH", "", {"enabled": True}).status == 200)

    def standby(self, fault):
        self.in_thread(self.task_call, fault, "PATCH", "", {"options": {"standby": True}})
        alone = lambda: self.task_call(fault, "PATCH", "", {"options": {"standby": False}}).status == 200
        self.later(fault.lasts, self.owed, f"{fault.target} is alone", alone)

    def cordon(self, fault):
        path = f"/api/v1/nodes/{fault.target}"
        self.in_thread(self.lab.boss.call, "POST", f"{path}/{fault.kind}")
        self.later(fault.lasts, self.owed, f"{fault.target} is undrained", lambda: self.lab.boss.call("POST", f"{path}/undrain", timeout=4).status == 204)

    drain = cordon


# --- the test -------------------------------------------------------------------------------------------------------------------


class Actions(unittest.TestCase):
    def test_each_kind_has_one(self):
        self.assertEqual([k.name for k in LIGHT + HEAVY + ASKED_FOR if not hasattr(Breaker, k.name.replace("-", "_"))], [])


class Chaos(Network, LoggedCase):
    LOG_LINES = 80
    SEED, FAULTS, ONLY, TLS, GO_ON = 0, 200, (), False, False

    @property
    def nodes(self):
        return list(self.lab.node.values())

    @classmethod
    def setUpClass(cls):
        cls.again = f"--seed {cls.SEED} --faults {cls.FAULTS}{' --only ' + ','.join(cls.ONLY) if cls.ONLY else ''}{' --tls' if cls.TLS else ''}"
        sys.stderr.write(f"chaos: {cls.again}\n")
        network = cls
        try:
            cls.make_network(len(NODES))
        except unittest.SkipTest as e:
            sys.stderr.write(f"chaos: nothing is cut: {e}\n")
            network = None
        cls.plan = plan(cls.SEED, cls.FAULTS, cls.ONLY, () if network else CUTS)
        cls.lab = Lab(cls.TLS, network, cls.addClassCleanup)

    def test_1_everything_breaks(self):
        lab = self.lab
        lab.start(self.addClassCleanup)
        breaker = Breaker(lab)
        self.addCleanup(breaker.pool.shutdown, wait=False, cancel_futures=True)
        faults = collections.deque(self.plan)
        began, judged = lab.clock(), 0.0
        sys.stderr.write(f"chaos: all runs after {began:.1f} s; the faults begin\n")
        found, last = [], None
        while faults and not (found and not self.GO_ON):
            if faults[0].at <= lab.clock() - began:
                breaker.strike(faults.popleft())
                last = lab.clock()
            breaker.due()
            if lab.clock() - judged > 2:
                judged, found = lab.clock(), lab.found()
            time.sleep(0.02)  # the schedule's own pace
        try:
            breaker.finish()
            if not found or self.GO_ON:
                over = lab.clock()
                found += self.settle(breaker)
                settled = lab.clock()
                sys.stderr.write(f"chaos: {len(breaker.done)} faults in {last - began:.0f} s, all runs again {settled - over:.1f} s after the last was undone\n")
        finally:
            for watch in lab.watches:
                watch.stop()
        lab.read_logs()
        found = lab.found() + [f for f in found if f.startswith("at rest")]
        # Late and away is what the faults make it; all other rules hold.
        found += [f"the linter says {f}" for f in lab.linter.findings if f["rule"] not in ("P6", "transport")]
        with lab.lock:
            found += invariants.unsaid_changes(lab.observations, lab.events)
        sys.stderr.write(self.summary(breaker))
        if found:
            sys.stderr.write(f"faults (number, second, kind, target, duration, what was hit):\n{breaker.story()}\n")
            sys.stderr.write("events:\n" + "\n".join(f"  {at:7.2f}  {kind:20s} {lab.names.get(subject.split('/')[-1], subject)}" for at, kind, subject in lab.events) + "\n")
            told = "\n".join(list(dict.fromkeys(found))[:40])
            self.fail(f"{len(set(found))} breaches, the first of them below; again with {self.again}:\n{told}")

    def settle(self, breaker):
        """After the last fault: everything runs within its bound, and what is listed can be fetched from each edge."""
        lab = self.lab
        found = [f"at rest: {f}" for f in breaker.failures]
        try:
            lab.wait_until_settled(SETTLED_WITHIN)
        except AssertionError as e:
            return [*found, f"at rest: {e}"]
        newest = {name: max(judge.epochs) for name, judge in lab.playlists.items()}
        played = lab.player.newest()
        try:
            eventually("a player that saw all of it plays on", lambda: lab.player.newest() >= played + 2, 20)
            for name, judge in lab.playlists.items():
                eventually(f"{name} plays on", lambda judge=judge, name=name: max(judge.epochs) >= newest[name] + 2, 20)
                listed = Viewer(lab.media, name).playlist().media
                for entry in listed[-4:]:
                    path = entry.uri[entry.uri.index("/s/"):]
                    for edge in lab.cache.edges:
                        got = eventually("an edge has it", lambda edge=edge, path=path: (a := fetch(edge + path)).status == 200 and a, 5)
                        judge.take_content(lab.clock(), edge + path, hashlib.sha256(got.body).hexdigest()[:16])
        except TROUBLE as e:
            found.append(f"at rest: {e!r}")
        with lab.lock:
            for name, judge in lab.playlists.items():
                granted = {epoch for epoch, (task, _) in lab.event_judge.owner.items() if task == lab.ids[f"hls-{name}"]}
                found += [f"at rest: {name} lists segments of lease {epoch}, which nobody was given" for epoch in judge.leases() - granted]
        return found

    def summary(self, breaker):
        lab = self.lab
        kinds = collections.Counter(f.kind for f, _, _ in breaker.done)
        double = 0
        pushes = lab.sink.pushes()
        for i, one in enumerate(pushes):
            double = max([double, *(len(one.slots & other.slots) for other in pushes[i + 1:] if other.target == one.target)])
        return (f"chaos: kinds {dict(kinds.most_common())}\n"
                f"chaos: {len(lab.events)} events, {len(lab.observations)} looks at the state, segments seen {({n: len(j.epochs) for n, j in lab.playlists.items()})}, "
                f"longest without a new one {({n: round(s, 1) for n, s in lab.longest.items()})}\n"
                f"chaos: {len(pushes)} publications at the sink, two of one target at most {double * invariants.SLOT:.1f} s together{', sink: ' + str(lab.sink.troubles[:3]) if lab.sink.troubles else ''}\n"
                f"chaos: the linter saw {lab.linter.segments} segments of {STREAMS[0]}; its player stalled {len(lab.player.stalls)} times, "
                f"for {sum(s for _, s in lab.player.stalls):.1f} s\n"
                f"chaos: most memory {({n: f'{m >> 20} MiB' for n, m in lab.memory.items()})}; answers {dict(lab.missed)}\n")

    def test_2_clean_end(self):
        """Each node ends within 10 s, nothing of it is left, no sanitizer has anything to say."""
        for node in reversed(self.nodes):
            if node.process and node.process.poll() is None:
                self.assertLessEqual(node.stop(), 10, node.name)


def main():
    words = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    words.add_argument("--seed", type=int, default=int(os.environ.get("WEIR_CHAOS_SEED", 0)) or random.SystemRandom().randrange(1, 1 << 31))
    words.add_argument("--faults", type=int, default=int(os.environ.get("WEIR_CHAOS_FAULTS", 200)))
    words.add_argument("--only", default="", metavar="KIND,…", help="faults of these kinds only")
    words.add_argument("--tls", action="store_true", help="connections between the nodes are TLS")
    words.add_argument("--go-on", action="store_true", help="go on after a breach")
    words.add_argument("--show", action="store_true", help="only print the plan of the seed")
    given, rest = words.parse_known_args()
    Chaos.SEED, Chaos.FAULTS, Chaos.TLS, Chaos.GO_ON = given.seed, given.faults, given.tls, given.go_on
    Chaos.ONLY = tuple(given.only.split(",")) if given.only else ()
    Lab.GOES_ON = given.go_on
    if given.show:
        for fault in plan(given.seed, given.faults, Chaos.ONLY):
            print(f"{fault.number:4d} {fault.at:7.2f}  {fault.kind:20s} {fault.target:12s} {fault.lasts or ''}{' heavy' if fault.heavy else ''}")
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # as any other end: nothing that was started is left
    unknown = set(Chaos.ONLY) - {k.name for k in LIGHT + HEAVY + ASKED_FOR}
    if unknown:
        words.error(f"unknown kinds {sorted(unknown)}")
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)


if __name__ == "__main__":
    main()
