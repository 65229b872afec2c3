"""Answers to nginx-rtmp's on_publish by a whole running node, beside nginx that says yes to everything."""

import os
import re
import sys
import tempfile

from measuring import ROOT, SERVER_CORE, BenchFailed, Load, line, middle, nginx, on_cores, rounded, say

sys.path.insert(0, os.path.join(ROOT, "tests/system"))
import weir_node

CASES = {"hook_decisions": "hook answers a second and their p99, beside nginx `return 200`"}
TARGETS = ["weir"]

STREAMS, CONNECTIONS = 200, 16
RECORDED = os.path.join(ROOT, "tests/data/nginx-rtmp-hooks")


def callback(kind, name, key, client):
    """A recorded callback byte for byte but for address, stream, key and client: HTTP/1.0 on a connection of its own, as RTMP servers send it."""
    with open(os.path.join(RECORDED, f"{kind}.http"), "rb") as f:
        head, body = f.read().split(b"\r\n\r\n", 1)
    for old, new in ((b"name=livestream", f"name={name}"), (b"key=secret", f"key={key}"), (b"clientid=1", f"clientid={client}")):
        if old not in body:
            raise BenchFailed(f"the recorded {kind} has no {old.decode()}")
        body = body.replace(old, new.encode())
    head = re.sub(rb"^POST \S+", b"POST /hooks/nginx-rtmp", head)
    head = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head)
    return head + b"\r\n\r\n" + body


def measure(names, settings):
    weir_node.PROGRAM = settings.program("apps/weir/weir")
    seconds = 3 if settings.quick else 8
    runs = settings.runs(usual=5, quick=2)
    node = weir_node.Node(roles=["coordinator", "origin", "director"], log={"level": "warn", "format": "text"})
    try:
        with on_cores({SERVER_CORE}):
            node.start()
        streams = [node.add_stream(f"bench-{i}") for i in range(STREAMS)]
        wrong = callback("on_publish", streams[0].name, "not-the-key", 1)
        body = wrong.split(b"\r\n\r\n", 1)[1]
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        if weir_node.fetch(node.url + "/hooks/nginx-rtmp", "POST", body, form).status // 100 == 2:
            raise BenchFailed("a wrong key is accepted: these are no decisions")
        publish = [callback("on_publish", s.name, s.key, 1000 + i) for i, s in enumerate(streams)]
        # Each of these changes what is live: another client comes, then goes.
        change = [callback(kind, s.name, s.key, 5000 + i) for i, s in enumerate(streams) for kind in ("on_publish", "on_publish_done")]
        with tempfile.TemporaryDirectory(prefix="weir-bench-") as folder, tempfile.TemporaryDirectory(prefix="weir-bench-") as other, nginx("location / {{ return 200; }}") as (
                peer_port, worker, _):
            decisions, changes = Load(folder, publish), Load(other, change)
            ours, peer, changing = [], [], []
            for round_ in range(runs + 1):
                say(f"hook_decisions: round {round_} of {runs}" + (" (warm-up)" if round_ == 0 else ""))
                length = seconds if round_ > 0 else 1
                results = (decisions.send_watched(node.port, node.process.pid, CONNECTIONS, length), decisions.send_watched(peer_port, worker, CONNECTIONS, length),
                           changes.send_watched(node.port, node.process.pid, CONNECTIONS, length))
                if round_ > 0:
                    for kept, result in zip((ours, peer, changing), results):
                        kept.append(result)
        for stream in streams[::40]:
            stream.wait_for_phase("live", 10)  # what was accepted has come true
        node.stop()
    finally:
        node.remove()

    def each(results, key="rate"):
        return [r["requests"] / r["seconds"] if key == "rate" else r[key] for r in results]

    yield line("hook_decisions", "answers a second", "higher", each(ours), each(peer), "nginx, one worker, `return 200`", connections=CONNECTIONS, seconds=seconds, streams=STREAMS,
               connection="one for each request, HTTP/1.0",
               p99_ms=rounded(middle(each(ours, "p99_ms"))), peer_p99_ms=rounded(middle(each(peer, "p99_ms"))),
               per_cpu_second=round(middle(each(ours, "per_cpu_second"))), peer_per_cpu_second=round(middle(each(peer, "per_cpu_second"))),
               changes_a_second=round(middle(each(changing))), changes_p99_ms=rounded(middle(each(changing, "p99_ms"))))
