"""What a director keeps in memory for each stream and for each viewer's session."""

import contextlib
import os
import random
import resource
import signal
import socket
import subprocess
import time

from measuring import SERVER_CORE, BenchFailed, line, nginx, on_cores, resident, running, say
from playlist_requests.measure import BUCKETS, NJS_HEADERS, RUNGS, check, fetch, get, path_of

CASES = {
    "memory_per_stream": "resident memory of a director for each stream of four rungs, beside the bytes of its playlists",
    "memory_per_session": "resident memory of the HTTP server for each viewer's connection, beside nginx",
}
TARGETS = ["bench_playlist_requests"]

STREAMS, SESSIONS, RELOAD_S = 2000, 6000, 4


@contextlib.contextmanager
def director(settings, streams):
    """Gives (port, pid)."""
    with on_cores({SERVER_CORE}):
        serving = running([settings.program("bench/bench_playlist_requests"), str(streams)], stdout=subprocess.PIPE, text=True)
    with serving as server:
        said = server.stdout.readline().split()
        if len(said) != 2:
            raise BenchFailed("our server did not start")
        yield int(said[1]), server.pid
        server.send_signal(signal.SIGTERM)
        if server.wait(30) != 0:
            raise BenchFailed(f"our server ended with status {server.returncode}")


def newest(port):
    return fetch(port, path_of(0, 1, RUNGS[0]))


def after_changes(port, pid, changes):
    """Resident memory once each stream has changed so often: what the first change needs beside the former view is there then."""
    for _ in range(changes):
        before, until = newest(port), time.monotonic() + 10 * RELOAD_S
        while newest(port) == before:
            if time.monotonic() > until:
                raise BenchFailed("no segment was listed")
            time.sleep(0.1)
    return resident(pid)


def per_stream(settings):
    with director(settings, 1) as (port, pid):
        lists = sum(len(fetch(port, path_of(0, 1, rung))) for rung in RUNGS)
        one = after_changes(port, pid, 2)
    with director(settings, 1 + STREAMS) as (port, pid):
        check(newest(port))
        return (after_changes(port, pid, 2) - one) / STREAMS, lists


def ask(connection, path):
    """Sends a request and reads all of its answer."""
    connection.sendall(get(path))
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += read_some(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise BenchFailed(head.decode())
    length = next(int(field.split(b":")[1]) for field in head.split(b"\r\n") if field.lower().startswith(b"content-length:"))
    while len(body) < length:
        body += read_some(connection)


def read_some(connection):
    more = connection.recv(65536)
    if not more:
        raise BenchFailed("a connection was closed")
    return more


def per_session(port, pid, paths):
    with contextlib.ExitStack() as stack:
        ask(stack.enter_context(socket.create_connection(("127.0.0.1", port))), paths[0])
        before = resident(pid)
        connections = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(SESSIONS)]
        for turn in range(2):
            for i, connection in enumerate(connections):
                ask(connection, paths[(i + turn) % len(paths)])
        return (resident(pid) - before) / SESSIONS


def measure(names, settings):
    runs = settings.runs(usual=3, quick=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < SESSIONS + 200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if "memory_per_stream" in names:
        rounds = []
        for round_ in range(runs):
            say(f"memory_per_stream: round {round_ + 1} of {runs}")
            rounds.append(per_stream(settings))
        yield line("memory_per_stream", "bytes", "lower", [ours for ours, _ in rounds], [lists for _, lists in rounds], "the bytes of its playlists", streams=STREAMS, rungs=len(RUNGS))
    if "memory_per_session" in names:
        paths = [path_of(bucket, joined, rung) for bucket in range(BUCKETS) for joined in (1, 2) for rung in RUNGS]
        random.Random(1).shuffle(paths)
        ours, theirs = [], []
        for round_ in range(runs):
            say(f"memory_per_session: round {round_ + 1} of {runs}")
            with director(settings, 1) as (port, pid):
                ours.append(per_session(port, pid, paths))
                playlist = newest(port)
            with nginx('root {folder}/www; location /p/ {{ ' + NJS_HEADERS + ' }}') as (port, worker, home):
                file = f"{home}/www{paths[0]}"
                os.makedirs(os.path.dirname(file))
                with open(file, "wb") as f:
                    f.write(playlist)
                theirs.append(per_session(port, worker, paths[:1]))
        yield line("memory_per_session", "bytes", "lower", ours, theirs, "nginx, one worker, static file", sessions=SESSIONS)
