"""One real Weir node for the system tests: its YAML, its process, its API, real encoders and viewers.

    node = Node(origin={"profile": "short"})      # a folder, free ports, all roles
    node.start()                                  # returns when /readyz says so
    stream = node.add_stream("show")
    with Encoder(node, "show", stream.key): ...
    node.stop()                                   # SIGTERM; checks status, survivors and the log

Only the standard library. Everything that is started is ended by its id, in whatever way a test ends: each process has a
session of its own, dies with its parent (PR_SET_PDEATHSIG), and its session is killed when the test program ends. Nothing waits a
fixed time for something to happen: `eventually` polls a condition and fails with what it last saw.
"""

import atexit
import contextlib
import ctypes
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

PROGRAM = os.environ.get("WEIR_PROGRAM", "/tmp/weir/build-main/apps/weir/weir")
HLS_WATCH = os.environ.get("WEIR_HLS_WATCH", os.path.join(os.path.dirname(PROGRAM), "../../tools/hls_watch/hls_watch"))
SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))

# A ladder that two busy cores carry under sanitizers.
SMALL_LADDER = {
    "name": "small",
    "rungs": [{"name": "180p", "height": 180, "video": "250k"}, {"name": "120p", "height": 120, "video": "100k"}],
    "audio": "64k",
    "preset": "superfast",
}

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def eventually(what, condition, within, every=0.1):
    """The first true value of condition(); fails after `within` seconds with what it last gave or raised."""
    began = time.monotonic()
    last = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except (OSError, http.client.HTTPException, AssertionError, ValueError, KeyError) as e:
            last = e
        if time.monotonic() - began > within:
            raise AssertionError(f"{what}: not within {within} s; last seen: {last!r}")
        time.sleep(every)


# --- processes ------------------------------------------------------------------------------------------------------------------

_sessions = set()


def _spawn(arguments, **how):
    def become():
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    process = subprocess.Popen(arguments, start_new_session=True, preexec_fn=become, stdin=subprocess.DEVNULL, **how)
    _sessions.add(process.pid)
    return process


class Process:
    """A line of /proc: what a running process is."""

    def __init__(self, pid):
        self.pid = pid
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            text = f.read()
        fields = text[text.rindex(")") + 2:].split()
        self.state, self.parent, self.group, self.session = fields[0], int(fields[1]), int(fields[2]), int(fields[3])
        self.ticks = int(fields[11]) + int(fields[12])
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            self.command = f.read().replace(b"\0", b" ").decode(errors="replace").strip()
        try:
            self.folder = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            self.folder = ""

    def __repr__(self):
        return f"{self.pid} [{self.command[:120]}] in {self.folder}"


def processes(wanted):
    """All living processes for which wanted(process) holds."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                process = Process(int(name))
                if process.state not in "ZX" and wanted(process):
                    found.append(process)
    return found


def _end_session(leader):
    for process in processes(lambda p: p.session == leader):
        with contextlib.suppress(OSError):
            os.kill(process.pid, signal.SIGKILL)


@atexit.register
def _end_all_sessions():
    for leader in _sessions:
        _end_session(leader)


def free_ports(count):
    """`count` neighbouring TCP ports below the kernel's own range, so that no outgoing connection takes one meanwhile."""
    chance = random.Random(os.getpid() ^ time.monotonic_ns())
    for _ in range(1000):
        first = chance.randrange(20000, 32000 - count)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    probe = stack.enter_context(socket.socket())
                    probe.bind(("127.0.0.1", port))
                return first
            except OSError:
                continue
    raise AssertionError("no free ports")


# --- HTTP -----------------------------------------------------------------------------------------------------------------------


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode(errors="replace")

    @property
    def json(self):
        return json.loads(self.body)

    def header(self, name):
        return self.headers.get(name)

    def __repr__(self):
        return f"{self.status} {self.text[:300]!r}"


class Trust:
    """Whom all viewers of this program believe, as a browser has it: https addresses are checked against these authorities, the linter's too."""

    def __init__(self):
        self.file = None  # the system's

    def only(self, file):
        """`file`: certificates (PEM)."""
        self.file = file
        self.context = ssl.create_default_context(cafile=file)

    @property
    def words(self):
        return ["--authorities", self.file] if self.file else []

    def connection(self, parts, timeout):
        if parts.scheme == "https":
            return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=self.context if self.file else None)
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)

    def shown_at(self, url):
        """The certificate (DER) that a new connection to that address is shown, and believes."""
        parts = urllib.parse.urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port), timeout=5) as plain, self.context.wrap_socket(plain, server_hostname=parts.hostname) as secured:
            return secured.getpeercert(binary_form=True)


trust = Trust()


def fetch(url, method="GET", body=None, headers=None, timeout=10):
    """One request on a connection of its own. `body`: bytes, or anything JSON."""
    parts = urllib.parse.urlsplit(url)
    headers = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    connection = trust.connection(parts, timeout)
    try:
        connection.request(method, parts.path + ("?" + parts.query if parts.query else ""), body, headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


# --- the node -------------------------------------------------------------------------------------------------------------------


class Stream:
    def __init__(self, node, shown, key):
        self.node, self.id, self.name, self.key = node, shown["id"], shown["name"], key

    def status(self):
        return self.node.get(f"/api/v1/streams/{self.id}")

    def wait_for_phase(self, phase, within):
        return eventually(f"stream {self.name} is {phase}", lambda: (s := self.status())["phase"] == phase and s, within)


class Node:
    """`host`: the address that everything of the node listens on; `namespace`: the network namespace that it lives in (ip netns)."""

    def __init__(self, host="127.0.0.1", namespace=None, **sections):
        self.host, self.namespace = host, namespace
        self.folder = tempfile.mkdtemp(prefix="weir-")
        self.data = os.path.join(self.folder, "data")
        self.log_file = os.path.join(self.folder, "node.log")
        first = free_ports(5)
        self.port, self.rtmp_port, self.stat_port, self.edge_port = first, first + 1, first + 2, first + 3
        self.url = f"http://{host}:{self.port}"
        self.rtmp = f"rtmp://{host}:{self.rtmp_port}"
        config = {
            "node": {"name": "lab"},
            "data_dir": self.data,
            "http": {"listen": f"{host}:{self.port}"},
            "log": {"level": "info", "format": "text"},
            "coordinator": {"publish_grace": "3s"},
            "ingest": {"rtmp_listen": f"{host}:{self.rtmp_port}", "stat_listen": f"127.0.0.1:{self.stat_port}"},
            "worker": {"cores": 64},
            "origin": {"profile": "short"},
            "edge": {"instances": 2, "listen_host": host, "first_port": self.edge_port},
            "ladders": [SMALL_LADDER],
        }
        for name, section in sections.items():
            config[name] = {**config[name], **section} if isinstance(section, dict) and name in config else section
        self.name = config["node"]["name"]
        scheme = "https" if config["edge"].get("certificate") else "http"
        self.edges = [f"{scheme}://{host}:{self.edge_port + i}" for i in range(config["edge"]["instances"])]
        self.config_file = os.path.join(self.folder, "weir.yaml")
        with open(self.config_file, "w", encoding="utf-8") as f:
            json.dump(config, f, indent=1)  # flow style: JSON is YAML
        self.process = None
        self.sessions = []

    # life

    def start(self, within=40):
        self.launch()
        return self.wait_until_ready(within)

    def launch(self):
        """From the main thread: the node dies with the thread that started it."""
        with open(self.log_file, "ab") as log:
            environment = {k: v for k, v in os.environ.items() if not k.startswith("WEIR_")}  # the node would read them as settings
            inside = ["ip", "netns", "exec", self.namespace] if self.namespace else []
            self.process = _spawn([*inside, PROGRAM, "run", "-c", self.config_file], stdout=log, stderr=log, env=environment)
        self.sessions.append(self.process.pid)

    def wait_until_ready(self, within=40):
        def ready():
            if self.process.poll() is not None:
                raise SystemExit(f"the node ended with {self.process.returncode}\n{self.log_tail()}")
            return fetch(self.url + "/readyz", timeout=5).status == 200

        eventually("the node is ready", ready, within)
        with open(os.path.join(self.data, "api-token"), encoding="utf-8") as f:
            self.token = f.read().strip()
        return self

    def survivors(self):
        """Processes of this node: of one of its sessions, or in its folder."""
        return processes(lambda p: p.session in self.sessions or p.folder.startswith(self.folder) or self.folder in p.command)

    def wait_until_nothing_is_left(self, within):
        eventually("no process of the node is left", lambda: not (left := self.survivors()) or _raise(AssertionError(left)), within)

    def stop(self, within=10):
        """SIGTERM; returns the seconds until the program ended, having checked its status and that nothing is left."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(within + 20)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the node did not end {within + 20} s after SIGTERM") from None
        took = time.monotonic() - began
        self.wait_until_nothing_is_left(1)
        self.check_log()
        if status != 0 or took > within:
            raise AssertionError(f"the node ended with status {status} after {took:.1f} s")
        return took

    def kill(self):
        """kill -9 of the program alone; waits until it is gone, not its children."""
        self.process.kill()
        self.process.wait(10)

    def pause(self, on):
        """Stops (and wakes) every process of the node, as a machine that hangs."""
        for process in self.survivors():
            with contextlib.suppress(ProcessLookupError):  # what woke first may have ended the others
                os.kill(process.pid, signal.SIGSTOP if on else signal.SIGCONT)

    def remove(self):
        """Ends whatever is left and removes the folder."""
        for leader in self.sessions:
            _end_session(leader)
        if self.process:
            self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    # what it says

    def log(self):
        with open(self.log_file, encoding="utf-8", errors="replace") as f:
            return f.read()

    def log_tail(self, lines=150):
        return "".join(self.log().splitlines(True)[-lines:])

    def check_log(self):
        for sign in ("LeakSanitizer", "AddressSanitizer", "runtime error:", "role-died", "role-hangs", "-actor-died"):
            at = (text := self.log()).find(sign)
            if at >= 0:
                raise AssertionError(f"the log says {sign}:\n{text[max(0, at - 300):at + 3000]}")

    # API

    def call(self, method, path, body=None, headers=None, **how):
        return fetch(self.url + path, method, body, {"Authorization": "Bearer " + self.token, **(headers or {})}, **how)

    def get(self, path):
        answer = self.call("GET", path)
        if answer.status != 200:
            raise AssertionError(f"GET {path}: {answer}")
        return answer.json

    def change(self, method, path, body=None, expect=(200, 201, 204), headers=None):
        answer = self.call(method, path, body, headers)
        if answer.status not in expect:
            raise AssertionError(f"{method} {path}: {answer}")
        return answer.json if answer.body else None

    def items(self, path):
        """All pages of a list."""
        found, cursor = [], None
        while True:
            page = self.get(path + ("&" if "?" in path else "?") + "limit=1000" + (f"&cursor={urllib.parse.quote(cursor)}" if cursor else ""))
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                return found

    def add_stream(self, name, **fields):
        shown = self.change("POST", "/api/v1/streams", {"name": name, **fields})
        return Stream(self, shown, self.get(f"/api/v1/streams/{shown['id']}/key")["key"])

    def add_task(self, stream, type, options, **fields):
        return self.change("POST", f"/api/v1/streams/{stream.id}/tasks", {"type": type, "options": options, **fields})["id"]

    def add_hls(self, stream, profile="short", container="ts", **fields):
        return self.add_task(stream, "hls", {"ladder": "small", "profile": profile, "container": container}, **fields)

    def task(self, id):
        return self.get(f"/api/v1/tasks/{id}")

    def wait_for_task(self, id, phase, within):
        return eventually(f"task is {phase}", lambda: (t := self.task(id))["phase"] == phase and t or _raise(AssertionError(t)), within)

    def events(self, kind=None):
        return [e for e in self.get("/api/v1/events")["items"] if kind in (None, e["kind"])]

    def actors(self, kind, here=False):
        """The actors of that kind in the tree of /introspect: of all nodes, or `here` of this one only."""
        found, open_ = [], list(self.get("/introspect" + ("?here=1" if here else ""))["actors"])
        while open_:
            one = open_.pop()
            open_ += one.get("children", [])
            if one.get("kind") == kind:
                found.append(one)
        return found

    def pid_of_task(self, id):
        """The pid of the process that works for a task, or 0."""
        for actor in self.actors("transcoder"):
            if actor["name"] == f"transcoder/{id}":
                return actor["status"]["pid"]
        return 0

    def nginx_master(self, what):
        """The master process of `edge-1`, `edge-2` or `ingest`."""
        folder = os.path.join(self.data, what)
        masters = processes(lambda p: p.folder == folder and p.command.startswith("nginx: master"))
        if len(masters) != 1:
            raise AssertionError(f"{what} has {len(masters)} masters: {masters}")
        return masters[0].pid

    def publish_url(self, name, key=None, app="live"):
        return f"{self.rtmp}/{app}/{name}" + (f"?key={key}" if key is not None else "")

    def playback_url(self, name):
        return f"{self.url}/hls/{name}/index.m3u8"


def _raise(error):
    raise error


# --- encoders -------------------------------------------------------------------------------------------------------------------


class Encoder:
    """A real ffmpeg that publishes a small test picture and a tone; `insists`: starts again whenever it ends, as encoders do."""

    SAMPLES = 44100

    def __init__(self, node, name, key, insists=False):
        self.log = tempfile.TemporaryFile()
        words = ["ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "warning",
                 "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25",
                 "-re", "-f", "lavfi", "-i", f"sine=frequency=440:sample_rate={self.SAMPLES}",
                 "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-b:v", "300k",
                 "-g", "50", "-keyint_min", "50", "-sc_threshold", "0", "-threads", "1", "-c:a", "aac", "-b:a", "64k",
                 *self.target(node, name, key)]
        if insists:
            words = ["sh", "-c", 'while :; do "$@"; sleep 0.5; done', "sh"] + words
        self.process = _spawn(words, stdout=self.log, stderr=self.log)

    def target(self, node, name, key):
        return ["-f", "flv", node.publish_url(name, key)]

    def output(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def wait(self, within):
        """Its exit status; fails when it goes on."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the encoder still publishes after {within} s") from None

    def stop(self):
        """As an operator ends a broadcast: ffmpeg says goodbye."""
        for process in processes(lambda p: p.session == self.process.pid):
            with contextlib.suppress(OSError):
                os.kill(process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        _end_session(self.process.pid)
        self.process.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.log.close()


class TwoWayEncoder(Encoder):
    """One encoder, an output to each of the nodes, as OBS with two outputs: what the one server cannot take does not hold up the other."""

    SAMPLES = 48000

    def target(self, nodes, name, key):
        outputs = "|".join(f"[f=flv:onfail=ignore]{n.publish_url(name, key)}" for n in nodes)
        return ["-map", "0:v", "-map", "1:a", "-flags", "+global_header", "-f", "tee", "-use_fifo", "1",
                "-fifo_options", "drop_pkts_on_overflow=1:attempt_recovery=1:recover_any_error=1:recovery_wait_time=1", outputs]


# --- viewers --------------------------------------------------------------------------------------------------------------------


class Entry:
    def __init__(self, msn, dsn, uri, gap, discontinuity, duration, map=None, range=None):
        self.msn, self.dsn, self.uri, self.gap, self.discontinuity, self.duration, self.map = msn, dsn, uri, gap, discontinuity, duration, map
        self.range = range  # (first byte, length); None: the whole of it


class Playlist:
    """A media playlist, as far as these tests look at it."""

    def __init__(self, url, text):
        lines = text.splitlines()
        if not lines or lines[0] != "#EXTM3U":
            raise ValueError(f"{url} is no playlist: {text[:200]!r}")
        value = lambda tag: next((line[len(tag) + 1:] for line in lines if line.startswith(tag + ":")), "0")
        self.target = int(value("#EXT-X-TARGETDURATION"))
        msn, dsn = int(value("#EXT-X-MEDIA-SEQUENCE")), int(value("#EXT-X-DISCONTINUITY-SEQUENCE"))
        self.ended = "#EXT-X-ENDLIST" in lines
        self.entries = []
        gap = discontinuity = False
        duration, map, range = 0.0, None, None
        for line in lines:
            if line.startswith("#EXT-X-MAP:"):
                map = urllib.parse.urljoin(url, line.split('URI="')[1].split('"')[0])
            elif line == "#EXT-X-GAP":
                gap = True
            elif line == "#EXT-X-DISCONTINUITY":
                discontinuity = True
                dsn += 1
            elif line.startswith("#EXT-X-BYTERANGE:"):
                length, first = line[17:].split("@")
                range = (int(first), int(length))
            elif line.startswith("#EXTINF:"):
                duration = float(line[8:].split(",")[0])
            elif line and not line.startswith("#"):
                self.entries.append(Entry(msn, dsn, urllib.parse.urljoin(url, line), gap, discontinuity, duration, map, range))
                msn += 1
                gap = discontinuity = False
                range = None

    @property
    def media(self):
        return [e for e in self.entries if not e.gap]


def start_together(nodes):
    """Starts all nodes at once; returns when each is ready."""
    for node in nodes:
        node.launch()
    for node in nodes:
        node.wait_until_ready()


class Viewer:
    """One start of a player: the variants that the multivariant playlist assigned to it."""

    def __init__(self, node, stream, url=None):
        url = url or node.playback_url(stream)
        answer = fetch(url)
        if answer.status != 200:
            raise ValueError(f"{url}: {answer}")
        self.text = answer.text
        lines = self.text.splitlines()
        self.variants = []
        for tag, uri in zip(lines, lines[1:]):
            if tag.startswith("#EXT-X-STREAM-INF:"):
                self.variants.append(urllib.parse.urljoin(url, uri))
        self.iframes = [urllib.parse.urljoin(url, line.split('URI="')[1].split('"')[0]) for line in lines if line.startswith("#EXT-X-I-FRAME-STREAM-INF:")]
        if not self.variants:
            raise ValueError(f"{url} names no variant: {self.text!r}")

    def playlist(self, variant=0):
        url = self.variants[variant]
        answer = fetch(url, timeout=3)
        if answer.status != 200:
            raise ValueError(f"{url}: {answer}")
        return Playlist(url, answer.text)


def wait_until_playable(node, stream, within):
    """A viewer whose playlist lists media that can be fetched."""

    def playable():
        viewer = Viewer(node, stream)
        listed = viewer.playlist().media
        return listed and fetch(listed[-1].uri).status == 200 and viewer

    return eventually(f"{stream} plays", playable, within, every=0.25)


class Follower(threading.Thread):
    """Polls one variant as a player does and keeps what it saw: when each sequence number was listed first, under which address, and every
    breach of the rule that a list only grows: numbers never fall, a listed number keeps its address, its gap mark and its discontinuity."""

    def __init__(self, viewer, variant=0, every=0.25):
        super().__init__(daemon=True)
        self.viewer, self.variant, self.every = viewer, variant, every
        self.seen = {}      # msn → (entry, monotonic time of first sight)
        self.breaches = []
        self.failures = []  # (time, what): playlists that could not be fetched
        self.last_first = self.last_dsn = -1
        self.ended = False
        self._done = threading.Event()

    def run(self):
        while not self._done.is_set():
            try:
                self._look(self.viewer.playlist(self.variant))
            except (OSError, http.client.HTTPException, ValueError) as e:
                self.failures.append((time.monotonic(), e))
            self._done.wait(self.every)

    def _look(self, list_):
        if not list_.entries:
            return
        now, first, newest = time.monotonic(), list_.entries[0], list_.entries[-1].msn
        if first.msn < self.last_first or newest < max(self.seen, default=-1):
            self.breaches.append(f"numbers fell: {self.last_first}..{max(self.seen)} became {first.msn}..{newest}")
        if first.dsn - first.discontinuity < self.last_dsn:
            self.breaches.append(f"the discontinuity number fell from {self.last_dsn} to {first.dsn}")
        self.last_first, self.last_dsn, self.ended = first.msn, first.dsn - first.discontinuity, list_.ended
        for entry in list_.entries:
            known = self.seen.setdefault(entry.msn, (entry, now))[0]
            if (known.uri, known.gap) != (entry.uri, entry.gap):
                self.breaches.append(f"{entry.msn} was {known.uri} gap={known.gap} and became {entry.uri} gap={entry.gap}")

    def newest(self):
        return max(self.seen, default=-1)

    def newest_at(self, moment):
        """The newest number that was listed by then."""
        return max(m for m, (_, at) in self.seen.items() if at <= moment)

    def longest_wait(self, since, target):
        """Seconds between two new segments beyond their duration, at most, after that moment."""
        at = sorted(t for _, t in self.seen.values() if t > since - target)
        return max(b - a for a, b in zip(at, at[1:])) - target

    def media_since(self, moment):
        """Entries with media that were first seen after that moment, in order."""
        return [entry for entry, at in (self.seen[m] for m in sorted(self.seen)) if at > moment and not entry.gap]

    def discontinuities(self):
        return [m for m in sorted(self.seen) if self.seen[m][0].discontinuity]

    def stop(self):
        self._done.set()
        self.join(10)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()


class Player(threading.Thread):
    """Plays as hls.js does: begins its hold-back behind the newest picture, reloads the playlist each target duration (an unchanged or failed one
    after half of it), fetches one segment after the other into its buffer, what fails once more on the backup pathway. Its buffer runs out for longer than a picture
    is shown in any case: a stall. What it played it keeps until it is stopped."""

    PICTURE = 0.04  # seconds
    PATIENCE = 3  # seconds with an edge that says nothing

    def __init__(self, viewer, target):
        super().__init__(daemon=True)
        self.kept = tempfile.TemporaryDirectory(prefix="weir-player-")
        self.target = target  # seconds
        rung = lambda url: url.rsplit("/", 1)[1]
        backup = lambda url: url.split("/p/")[1].split("/")[0].split("~")[0].endswith(".b")
        first = next(v for v in viewer.variants if not backup(v))
        self.pathways = [first, next(v for v in viewer.variants if backup(v) and rung(v) == rung(first))]
        self.got = {}       # msn → (moment, entry)
        self.gaps = []      # (moment, msn)
        self.failures = []  # (moment, "playlist" or "segment", address, why)
        self.levels = []    # (moment, seconds buffered before something came)
        self.stalls = []    # (moment of its end, seconds)
        self.ahead = None   # seconds buffered at _at
        self._next = None
        self._done = threading.Event()

    def run(self):
        list_, due = None, 0.0
        while not self._done.is_set():
            if time.monotonic() >= due:
                asked, before = time.monotonic(), list_
                list_ = self._reload(self.pathways[0]) or list_
                changed = list_ and (not before or list_.entries[-1].msn != before.entries[-1].msn)
                due = asked + (self.target if changed else self.target / 2)
            entry = list_ and next((e for e in list_.entries if e.msn >= self._next), None)
            if not entry:
                self._done.wait(min(0.05, max(due - time.monotonic(), 0)))
            elif entry.gap:
                self.gaps.append((time.monotonic(), entry.msn))
                self._next = entry.msn + 1
            elif (body := self._fetch(entry.uri)) or (body := self._fetch_backup(entry.msn)):
                self._take(entry, body)
            else:
                self._done.wait(0.5)

    def _fail(self, what, url, why):
        self.failures.append((time.monotonic(), what, url, why))

    def _reload(self, url):
        try:
            answer = fetch(url, timeout=3)
            if answer.status == 200:
                list_ = Playlist(url, answer.text)
                if self._next is None:
                    self._begin(list_, float(re.search(r"HOLD-BACK=([0-9.]+)", answer.text)[1]))
                return list_
            self._fail("playlist", url, repr(answer))
        except (OSError, http.client.HTTPException, ValueError) as e:
            self._fail("playlist", url, repr(e))
        return None

    def _begin(self, list_, hold_back):
        behind = 0.0
        for entry in reversed(list_.media):
            self._next = entry.msn
            behind += entry.duration
            if behind >= hold_back:
                break

    def _fetch(self, url):
        try:
            answer = fetch(url, timeout=self.PATIENCE)
            if answer.status == 200:
                return answer.body
            self._fail("segment", url, repr(answer))
        except (OSError, http.client.HTTPException) as e:
            self._fail("segment", url, repr(e))
        return None

    def _fetch_backup(self, msn):
        list_ = self._reload(self.pathways[1])
        entry = list_ and next((e for e in list_.media if e.msn == msn), None)
        return entry and self._fetch(entry.uri)

    def level(self):
        """Seconds in the buffer; below zero while it stalls."""
        return self.ahead - (time.monotonic() - self._at)

    def _take(self, entry, body):
        now = time.monotonic()
        if self.ahead is None:
            self.ahead, self._at = 0.0, now
        else:
            left = self.level()
            self.levels.append((now, left))
            if left < -self.PICTURE:
                self.stalls.append((now, -left))
            self.ahead, self._at = max(left, 0.0), now
        self.ahead += entry.duration
        with open(self.path(entry.msn), "wb") as f:
            f.write(body)
        self.got[entry.msn] = (now, entry)
        self._next = entry.msn + 1

    def path(self, msn):
        return os.path.join(self.kept.name, f"{msn}.ts")

    def newest(self):
        return max(self.got, default=-1)

    def stop(self):
        self._done.set()
        self.join(15)
        self.kept.cleanup()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()


class HostWatch(threading.Thread):
    """How long the machine itself stood still meanwhile: a host that takes a virtual machine off its cores for a second breaks any promise in seconds."""

    def __init__(self):
        super().__init__(daemon=True)
        self.longest = 0.0
        self._done = threading.Event()

    def run(self):
        before = time.monotonic()
        while not self._done.wait(0.02):
            now = time.monotonic()
            self.longest = max(self.longest, now - before - 0.02)
            before = now

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self.join(10)


def watch(node, stream, seconds, variants=2):
    """Runs the linter over the playback address; returns its report."""
    process = _spawn([HLS_WATCH, node.playback_url(stream), str(seconds), "--variants", str(variants), *trust.words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, errors = process.communicate(timeout=seconds + 30)
    if process.returncode not in (0, 1):
        raise AssertionError(f"hls_watch: status {process.returncode}: {errors.decode()}")
    return json.loads(out)


class Linter(threading.Thread):
    """The linter over a playback address for as long as it takes, one span after the other; a playlist that is away when one begins is asked for
    again."""

    SPAN = 6  # seconds

    def __init__(self, node, stream, variants=2):
        super().__init__(daemon=True)
        self.address = (node, stream)
        self.variants = variants
        self.findings = []  # as hls_watch tells them: rule, url, text
        self.away = []      # (moment, why)
        self.segments = 0
        self.viewers = 0    # each span is one
        self._done = threading.Event()

    def run(self):
        while not self._done.is_set():
            try:
                report = watch(*self.address, self.SPAN, self.variants)
            except AssertionError as e:
                self.away.append((time.monotonic(), str(e)))
                self._done.wait(0.5)
                continue
            self.findings += report["findings"]
            self.segments += report["segments"]
            self.viewers += 1

    def stop(self):
        self._done.set()
        self.join(self.SPAN + 35)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()


def wait_until_listed(viewer, seconds, within):
    """So much media, as long as it lasts."""
    eventually(f"{seconds} s are listed", lambda: sum(e.duration for e in viewer.playlist().media) >= seconds, within)


def wait_for_the_hold_back(viewer, target):
    wait_until_listed(viewer, 6 * target, 10 * target)


@contextlib.contextmanager
def watched(node, stream, target, every=0.25, viewer=None, without=(), stall=0.0):
    """While something is lost: a follower and a player with a full buffer, both given to the test, and the linter. When the test is through, the
    linter has nothing to say but of the rules `without`, and the player stalled for no more seconds than `stall`."""
    viewer = viewer or wait_until_playable(node, stream, 30)
    wait_for_the_hold_back(viewer, target)
    with HostWatch() as host, Follower(viewer, every=every) as follower, Player(viewer, target) as player, Linter(node, stream) as linter:
        eventually("the first list", lambda: follower.seen, 5)
        eventually("its buffer is full", lambda: player.newest() >= follower.newest(), 10)
        yield follower, player
    if host.longest > 0.5:  # a machine that stands still makes everything late, and away for that long
        without = (*without, "P6", "transport")
    found = [f for f in linter.findings if f["rule"] not in without]
    away = [] if "transport" in without else linter.away
    stalled = sum(seconds for _, seconds in player.stalls)
    sys.stderr.write(f"the linter saw {linter.segments} segments, a player stalled for {stalled:.1f} s, this machine for {host.longest:.2f} s\n")
    if found or away or not linter.segments or stalled > stall:
        raise AssertionError(f"the linter says {found} {away} of {linter.segments} segments; stalls {player.stalls}, failures {player.failures}")


# --- test cases -----------------------------------------------------------------------------------------------------------------


class LoggedCase(unittest.TestCase):
    """A class of tests on `nodes`; says at once why one of them failed, and prints their logs: what is read of a long run may be cut."""

    LOG_LINES = 150

    def run(self, result=None):
        before = len(result.failures), len(result.errors)
        began = time.monotonic()
        super().run(result)
        sys.stderr.write(f"{self.id()}: {time.monotonic() - began:.1f} s\n")
        trouble = [text for _, text in result.failures[before[0]:] + result.errors[before[1]:]]
        if trouble:
            sys.stderr.write("\n".join(trouble))
            for node in self.nodes:
                sys.stderr.write(f"--- the log of {node.name} after {self.id()} ---\n{node.log_tail(self.LOG_LINES)}\n")


class NodeCase(LoggedCase):
    """A class of tests on one node."""

    SECTIONS = {}

    @property
    def nodes(self):
        return [self.node]

    @classmethod
    def setUpClass(cls):
        cls.node = Node(**cls.SECTIONS)
        cls.addClassCleanup(cls.node.remove)
        cls.node.start()

    @classmethod
    def tearDownClass(cls):
        if cls.node.process.poll() is None:
            try:
                cls.node.stop()
            except AssertionError:
                sys.stderr.write(f"--- the node's log ---\n{cls.node.log_tail()}\n")
                raise


def main():
    unittest.main(verbosity=2, failfast=False)
