"""Rewritten playlists for each second of server CPU time, beside nginx that sends the same bytes from a file."""

import os
import random
import signal
import subprocess
import tempfile

from measuring import SERVER_CORE, BenchFailed, Load, line, middle, nginx, on_cores, running, rounded, say

CASES = {
    "playlist_requests": "rewritten playlists a second of server CPU, 100 connections, beside nginx sending the same bytes as a static file",
    "playlist_requests_2000": "the same with 2,000 connections",
}
TARGETS = ["bench_playlist_requests"]

CONNECTIONS = {"playlist_requests": 100, "playlist_requests_2000": 2000}
BUCKETS, RUNGS = 1024, ["1080p", "720p", "480p", "360p"]
PEER = "nginx, one worker, static file (sendfile, open_file_cache)"


def path_of(bucket, joined, rung):
    return f"/p/{bucket}.{joined}/bench~1/{rung}.m3u8"


def get(path):
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: wrk\r\nAccept: */*\r\n\r\n".encode()


def fetch(port, path):
    done = subprocess.run(["curl", "-sS", "-f", f"http://127.0.0.1:{port}{path}"], capture_output=True, check=False)
    if done.returncode != 0:
        raise BenchFailed(f"{path}: {done.stderr.decode()}")
    return done.stdout


def check(playlist):
    """What is sent must be what a viewer needs: all segments, on the edges of its bucket in both epochs."""
    hosts = [text.split("/s/")[0] for text in playlist.decode().splitlines() if text.startswith("http://10.0.0.")]
    if len(hosts) != 15:
        raise BenchFailed(f"the playlist lists {len(hosts)} segments:\n{playlist.decode()}")


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
        # What our server says beside the body, nginx says too.
        static = 'root {folder}/www; location /p/ {{ add_header Access-Control-Allow-Origin "*"; add_header Cache-Control "max-age=1"; }}'
        with nginx(static) as (peer_port, worker, home):
            file = f"{home}/www{sessions[0]}"
            os.makedirs(os.path.dirname(file))
            with open(file, "wb") as f:
                f.write(playlist)
            if fetch(peer_port, sessions[0]) != playlist:
                raise BenchFailed("nginx does not send the same bytes")
            mine = Load(folder, [get(path) for path in sessions])
            theirs = Load(home, [get(sessions[0])])
            for name in names:
                ours, peer = [], []
                for round_ in range(runs + 1):
                    say(f"{name}: round {round_} of {runs}" + (" (warm-up)" if round_ == 0 else ""))
                    length = seconds if round_ > 0 else 1
                    results = mine.send_watched(port, server.pid, CONNECTIONS[name], length), theirs.send_watched(peer_port, worker, CONNECTIONS[name], length)
                    if round_ > 0:
                        ours.append(results[0])
                        peer.append(results[1])

                def each(results, key):
                    return [r[key] for r in results]

                yield line(name, "requests a CPU second", "higher", each(ours, "per_cpu_second"), each(peer, "per_cpu_second"), PEER,
                           connections=CONNECTIONS[name], seconds=seconds, sessions=len(sessions), body_bytes=[min(sizes), max(sizes)],
                           requests_a_second=round(middle([r["requests"] / r["seconds"] for r in ours])), peer_requests_a_second=round(middle([r["requests"] / r["seconds"] for r in peer])),
                           utilisation=rounded(middle(each(ours, "utilisation"))), peer_utilisation=rounded(middle(each(peer, "utilisation"))),
                           p99_ms=rounded(middle(each(ours, "p99_ms"))), peer_p99_ms=rounded(middle(each(peer, "p99_ms"))))
        server.send_signal(signal.SIGTERM)
        if server.wait(10) != 0:
            raise BenchFailed(f"our server ended with status {server.returncode}")
