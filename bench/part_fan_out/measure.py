"""How long after its making a part reaches all of the viewers who wait for it at one edge."""

import contextlib
import re
import selectors
import socket
import time
import urllib.parse

from measuring import BenchFailed, line, nginx, rounded, say
from ll_hls_latency.measure import timed_broadcast  # puts tests/system and tests/browser on the path
import weir_node
from time_code import percentile

CASES = {"part_fan_out": "milliseconds from a part's arrival at one client of the origin to its arrival at 100 clients of an edge, 95 of 100, beside nginx's cache lock"}
TARGETS = ["weir"]

CLIENTS, PART = 100, "333ms"
PEER = "nginx, proxy_cache with proxy_cache_lock, in front of the same origin"
CACHE = "proxy_cache_path {folder}/cache keys_zone=parts:10m inactive=60s use_temp_path=off;"
LOCATION = """location / {{
      proxy_pass http://127.0.0.1:%d;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_cache parts;
      proxy_cache_lock on;
      proxy_cache_lock_timeout 5s;
      proxy_cache_valid 200 60s;
    }}"""


class Crowd:
    """Connections that stay, to one server."""

    def __init__(self, port, clients):
        self.port = port
        self.connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(clients)]

    def close(self):
        for connection in self.connections:
            connection.close()


def arrivals(crowds, path):
    """Everybody asks for `path` at once and waits; gives for each crowd when each of its members had the whole answer (monotonic seconds)."""
    got = {crowd: [] for crowd in crowds}
    with selectors.DefaultSelector() as ready:
        for crowd in crowds:
            for connection in crowd.connections:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{crowd.port}\r\n\r\n".encode())
                ready.register(connection, selectors.EVENT_READ, (crowd, bytearray()))
        until = time.monotonic() + 10
        while ready.get_map():
            if time.monotonic() > until:
                raise BenchFailed(f"{path}: {len(ready.get_map())} answers did not come")
            for key, _ in ready.select(1):
                crowd, answer = key.data
                more = key.fileobj.recv(1 << 18)
                if not more:
                    raise BenchFailed(f"{path}: a connection was closed after {bytes(answer[:200])}")
                answer += more
                if is_whole(answer, path):
                    got[crowd].append(time.monotonic())
                    ready.unregister(key.fileobj)
    return got


def is_whole(answer, path):
    head, gap, body = answer.partition(b"\r\n\r\n")
    if not gap:
        return False
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if not head.startswith(b"HTTP/1.1 200") or not length:
        raise BenchFailed(f"{path}: {bytes(head[:300])}")
    return len(body) >= int(length[1])


def next_part(viewer):
    """The path of the part that is hinted: it is being made."""
    url = viewer.variants[0]
    hint = re.search(r'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="([^"]+)"', weir_node.fetch(url).text)
    return urllib.parse.urlsplit(urllib.parse.urljoin(url, hint[1])).path if hint else None


def measure(names, settings):
    weir_node.PROGRAM = settings.program("apps/weir/weir")
    rounds = settings.runs(usual=60, quick=10)
    late = {"ours": [], "peer": []}
    with contextlib.ExitStack() as stack:
        node, _, viewer = stack.enter_context(timed_broadcast(PART, edge={"instances": 1}))
        peer_port, _, _ = stack.enter_context(nginx(LOCATION % node.port, http=CACHE))
        crowds = {"ours": Crowd(node.edge_port, CLIENTS), "peer": Crowd(peer_port, CLIENTS)}
        origin = Crowd(node.port, 1)
        for crowd in [*crowds.values(), origin]:
            stack.callback(crowd.close)
        weir_node.eventually("a part is hinted", lambda: next_part(viewer), 30)
        last, done = None, -2  # the first round of each is a warm-up
        while done < 2 * rounds:
            if (path := next_part(viewer)) in (None, last):
                time.sleep(0.02)
                continue
            who = ("ours", "peer")[done % 2]
            got = arrivals([crowds[who], origin], path)
            if done >= 0:
                late[who] += [1000 * (moment - got[origin][0]) for moment in got[crowds[who]]]
            last, done = path, done + 1
            if done > 0 and done % 20 == 0:
                say(f"part_fan_out: {done} of {2 * rounds} parts")
    ours, peer = late["ours"], late["peer"]
    yield line("part_fan_out", "ms", "lower", [percentile(ours, 0.95)], [percentile(peer, 0.95)], PEER, p50=rounded(percentile(ours, 0.5)), worst=rounded(max(ours)),
               peer_p50=rounded(percentile(peer, 0.5)), peer_worst=rounded(max(peer)), clients=CLIENTS, parts=rounds, part=PART)
