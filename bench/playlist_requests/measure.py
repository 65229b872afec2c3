"""Rewritten playlists for each second of server CPU time, beside nginx that sends the same bytes from a file, and beside nginx that rewrites them itself, with njs."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import tempfile
import typing

from measuring import SERVER_CORE, BenchFailed, Load, line, middle, nginx, on_cores, running, rounded, say

CASES = {
    "playlist_requests": "rewritten playlists a second of server CPU, 100 connections, beside nginx sending the same bytes as a static file",
    "playlist_requests_2000": "the same with 2,000 connections",
    "playlist_p99": "how long the slowest hundredth waits while 50,000 viewers reload each 4 s, beside nginx sending the same bytes as a static file",
    "playlist_requests_njs": "the same, 100 connections, beside nginx that rewrites the playlist for each viewer with njs",
}
TARGETS = ["bench_playlist_requests"]

CONNECTIONS = {"playlist_requests": 100, "playlist_requests_2000": 2000, "playlist_p99": 2000, "playlist_requests_njs": 100}
VIEWERS, RELOAD_S = 50_000, 4
PAUSE_MS = {"playlist_p99": round(1000 * CONNECTIONS["playlist_p99"] * RELOAD_S / VIEWERS)}  # each connection is that of 25 viewers
BUCKETS, RUNGS = 1024, ["1080p", "720p", "480p", "360p"]
PEER = "nginx, one worker, static file (sendfile, open_file_cache)"
NJS_PEER = "nginx, one worker, njs that puts edges into the entries"
NJS_MODULE = "/usr/lib/nginx/modules/ngx_http_js_module.so"
HOST = "@" # stands for the edge in the playlists that njs rewrites

# Two ways in which people do that; the faster one is the peer. `tables` has, for each epoch at which a viewer joined and each bucket, the edges of older and of newer entries.
NJS = """
import fs from 'fs';
const tables = %s;
const turn = %d;

function hosts(uri) {
  const dot = uri.indexOf('.', 3), slash = uri.indexOf('/', dot);
  return tables[uri.slice(dot + 1, slash)][uri.slice(3, dot)];
}
function rewritten(text, edges) {
  const parts = text.split('%s');
  return parts.slice(0, turn + 1).join(edges[0]) + edges[1] + parts.slice(turn + 1).join(edges[1]);
}
function content(r) {
  const slash = r.uri.lastIndexOf('/');
  r.headersOut['Content-Type'] = 'application/vnd.apple.mpegurl';
  r.return(200, rewritten(fs.readFileSync('%s/www/' + r.uri.slice(slash + 1), 'utf8'), hosts(r.uri)));
}
function forget_length(r) { delete r.headersOut['Content-Length']; }
function body(r, data, flags) { r.sendBuffer(data.length ? rewritten(data, hosts(r.uri)) : data, flags); }
export default { content, forget_length, body };
"""
NJS_HEADERS = 'add_header Access-Control-Allow-Origin "*"; add_header Cache-Control "max-age=1";'
NJS_WAYS = {
    "js_content": "location /p/ { js_content rewrite.content; " + NJS_HEADERS + " }",
    "js_body_filter": "location ~ ^/p/[0-9.]+/[^/]+/(?<list>[^/]+)$ { alias {folder}/www/$list; sendfile off; js_header_filter rewrite.forget_length; js_body_filter rewrite.body; " + NJS_HEADERS + " }",
}


def path_of(bucket, joined, rung):
    return f"/p/{bucket}.{joined}/bench~1/{rung}.m3u8"


def get(path):
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: wrk\r\nAccept: */*\r\n\r\n".encode()


def fetch(port, path):
    done = subprocess.run(["curl", "-sS", "-f", f"http://127.0.0.1:{port}{path}"], capture_output=True, check=False)
    if done.returncode != 0:
        raise BenchFailed(f"{path}: {done.stderr.decode()}")
    return done.stdout


def edges_in(playlist):
    """The edge of each entry, in order."""
    return [text.split("/s/")[0] for text in playlist.splitlines() if text.startswith("http://10.0.0.")]


def check(playlist):
    """What is sent must be what a viewer needs: all segments, on the edges of its bucket in both epochs."""
    listed = len(edges_in(playlist.decode()))
    if listed != 15:
        raise BenchFailed(f"the playlist lists {listed} segments:\n{playlist.decode()}")


def write_njs(home, port):
    """The peer's program, its tables and the playlists that it rewrites, from what our server sends: every bucket, both epochs."""
    tables, turn = {}, 0
    for joined in (1, 2):
        tables[joined] = []
        for bucket in range(BUCKETS):
            seen = edges_in(fetch(port, path_of(bucket, joined, RUNGS[0])).decode())
            turns = [i for i, (a, b) in enumerate(zip(seen, seen[1:]), 1) if a != b]
            turn = turns[0] if turns else turn
            tables[joined].append([seen[0], seen[-1]])
    os.makedirs(f"{home}/www")
    for rung in RUNGS:
        text = fetch(port, path_of(0, 1, rung)).decode()
        for edge in set(edges_in(text)):
            text = text.replace(edge + "/s/", HOST + "/s/")
        with open(f"{home}/www/{rung}.m3u8", "w", encoding="utf-8") as f:
            f.write(text)
    with open(f"{home}/rewrite.js", "w", encoding="utf-8") as f:
        f.write(NJS % (json.dumps(tables), turn, HOST, home))


def without_numbers(playlist):
    """Our server lists a segment each 4 s, the peer's file stays as it is: the same but for numbers and dates."""
    return re.sub(r"\d+(\.ts)|(SEQUENCE:)\d+|(DATE-TIME:).*", r"\1\2\3", playlist)


@contextlib.contextmanager
def rewriting_nginx(way, home, sessions, port):
    """An nginx that rewrites in that way what write_njs() left in `home`, after its answers to some sessions were compared with ours. Gives (port, pid of the worker)."""
    server = f"js_path {home}; js_import rewrite from rewrite.js; " + NJS_WAYS[way].replace("{folder}", home)
    with nginx(server.replace("{", "{{").replace("}", "}}"), top=f"load_module {NJS_MODULE};") as (peer_port, worker, _):
        for path in sessions[:50]:
            theirs, mine = fetch(peer_port, path).decode(), fetch(port, path).decode()
            if without_numbers(theirs) != without_numbers(mine):
                raise BenchFailed(f"{way}: {path} differs:\n{theirs}\n{mine}")
        yield peer_port, worker


class Bench(typing.NamedTuple):
    """Our server under load, and what each case sends."""

    mine: Load
    port: int
    pid: int
    sessions: list
    sizes: list
    seconds: int
    runs: int

    def against(self, name, peer, theirs, peer_name):
        """One case's line: rounds of ours and of a peer, (port, pid of the worker), under the load `theirs`, in turn."""
        peer_port, worker = peer
        ours, others = [], []
        for round_ in range(self.runs + 1):
            say(f"{name}: round {round_} of {self.runs}" + (" (warm-up)" if round_ == 0 else ""))
            length = self.seconds if round_ > 0 else 1
            load = CONNECTIONS[name], length, PAUSE_MS.get(name, 0)
            results = self.mine.send_watched(self.port, self.pid, *load), theirs.send_watched(peer_port, worker, *load)
            if round_ > 0:
                ours.append(results[0])
                others.append(results[1])

        def each(results, key):
            return [r[key] for r in results]

        unit, better, figure = ("ms", "lower", "p99_ms") if name == "playlist_p99" else ("requests a CPU second", "higher", "per_cpu_second")
        return line(name, unit, better, each(ours, figure), each(others, figure), peer_name,
                    connections=CONNECTIONS[name], seconds=self.seconds, sessions=len(self.sessions), body_bytes=[min(self.sizes), max(self.sizes)],
                    requests_a_second=round(middle([r["requests"] / r["seconds"] for r in ours])), peer_requests_a_second=round(middle([r["requests"] / r["seconds"] for r in others])),
                    utilisation=rounded(middle(each(ours, "utilisation"))), peer_utilisation=rounded(middle(each(others, "utilisation"))),
                    p99_ms=rounded(middle(each(ours, "p99_ms"))), peer_p99_ms=rounded(middle(each(others, "p99_ms"))))


def measure(names, settings):
    # Every viewer key there is, in an order that no cache of branches can learn: each request is another session's.
    sessions = [path_of(bucket, joined, rung) for bucket in range(BUCKETS) for joined in (1, 2) for rung in RUNGS]
    random.Random(1).shuffle(sessions)
    seconds = 3 if settings.quick else 8
    runs = settings.runs(usual=5, quick=2)
    with on_cores({SERVER_CORE}):
        serving = running([settings.program("bench/bench_playlist_requests")], stdout=subprocess.PIPE, text=True)
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as folder, serving as server:
        said = server.stdout.readline().split()
        if len(said) != 2:
            raise BenchFailed("our server did not start")
        port = int(said[1])
        playlist = fetch(port, sessions[0])
        check(playlist)
        sizes = [len(fetch(port, path)) for path in sessions[:16]]
        bench = Bench(mine=Load(folder, [get(path) for path in sessions]), port=port, pid=server.pid, sessions=sessions, sizes=sizes, seconds=seconds, runs=runs)
        static = [name for name in names if name != "playlist_requests_njs"]
        if static:
            # What our server says beside the body, nginx says too.
            with nginx('root {folder}/www; location /p/ {{ ' + NJS_HEADERS + ' }}') as (peer_port, worker, home):
                file = f"{home}/www{sessions[0]}"
                os.makedirs(os.path.dirname(file))
                with open(file, "wb") as f:
                    f.write(playlist)
                if fetch(peer_port, sessions[0]) != playlist:
                    raise BenchFailed("nginx does not send the same bytes")
                theirs = Load(home, [get(sessions[0])])
                for name in static:
                    yield bench.against(name, (peer_port, worker), theirs, PEER)
        if "playlist_requests_njs" in names:
            write_njs(folder, port)
            lines = {}
            for way in NJS_WAYS:
                with rewriting_nginx(way, folder, sessions, port) as peer:
                    lines[way] = bench.against("playlist_requests_njs", peer, bench.mine, f"{NJS_PEER} ({way})")
            best = max(lines, key=lambda way: lines[way]["peer"])
            lines[best]["params"]["other_ways"] = {way: one["peer"] for way, one in lines.items() if way != best}
            yield lines[best]
        server.send_signal(signal.SIGTERM)
        if server.wait(10) != 0:
            raise BenchFailed(f"our server ended with status {server.returncode}")
