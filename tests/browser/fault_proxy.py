"""Stands before edges and breaks, for one viewer at a time, how one segment of it is answered.

    with FaultProxy({"127.0.0.11": ("127.0.0.1", 8089), "127.0.0.12": ("127.0.0.1", 8090)}, port) as proxy:
        fault = proxy.arm("cut", "viewer-1")     # the next segment that viewer-1 has not asked for before, at the edge it asks first
        ...                                      # fault.hits: when it was asked for and broken, proxy.deliveries("viewer-1"): what arrived whole

A viewer is named by its User-Agent. Nothing is drawn: which request breaks follows from what was asked for before alone. Everything else, probes
of edges included, passes as it is. What the proxy answers itself has the header that lets browsers tell it apart from an answer that never came.
"""

import http.client
import re
import select
import socket
import socketserver
import struct
import threading
import time

SEGMENT = re.compile(r"/s/([^/~]+)~[^/]+/[^/]+/([^/]+)/([0-9]+)\.(?:ts|m4s)$")
NOT_PASSED_ON = {"connection", "keep-alive", "transfer-encoding", "content-length"}

# What an edge does to a request, by name: the status answered instead, seconds before it is passed on, or how the answer ends.
KINDS = {
    "404": {"status": 404},
    "503": {"status": 503},
    "delay": {"seconds": 2.0},
    "cut": {"ends": "cut"},              # half of the body, then the end of the connection
    "reset": {"ends": "reset"},          # as a closed port: RST instead of an answer
    "silence": {"ends": "silence"},      # a black hole before the first byte
    "hole": {"ends": "hole"},            # a black hole behind half of the body
}


class Delivery:
    """A segment that a viewer got whole."""

    def __init__(self, edge, stream, rung, msn):
        self.at, self.edge, self.stream, self.rung, self.msn = time.time(), edge, stream, rung, msn

    def __repr__(self):
        return f"{self.msn} of {self.stream}/{self.rung} from {self.edge}"


class Fault:
    """One segment (all its rungs) that one edge does not serve to one viewer, from its first request until it is lifted."""

    def __init__(self, kind, viewer, after):
        self.kind, self.viewer, self.after = kind, viewer, after
        self.msn = self.edge = None  # known with the first request
        self.hits = []               # (moment, rung)
        self.until = float("inf")    # moment from which on it is served as all others

    def takes(self, edge, viewer, rung, msn):
        """Whether this request breaks. The first one that could settles which segment and which edge it is."""
        if time.time() >= self.until or viewer != self.viewer or msn <= self.after:
            return False
        if self.msn is None:
            self.msn, self.edge = msn, edge
        if (msn, edge) != (self.msn, self.edge):
            return False
        self.hits.append((time.time(), rung))
        return True

    def lift_at(self, moment):
        self.until = moment

    def __repr__(self):
        return f"{self.kind} for {self.viewer} of {self.msn} at {self.edge}, {len(self.hits)} requests"


class _Edge(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False  # threads that hold a connection for ever end with their proxy
    request_queue_size = 64

    def __init__(self, proxy, host, port, upstream):
        self.proxy, self.name, self.upstream = proxy, host, upstream
        super().__init__((host, port), _Connection)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def shutdown_request(self, request):
        request.close()  # without the farewell of the default, which would come before an RST


class _Connection(socketserver.StreamRequestHandler):
    timeout = 60  # seconds: of a connection that is idle

    def handle(self):
        self.upstream = http.client.HTTPConnection(*self.server.upstream, timeout=20)
        try:
            while self._serve():
                pass
        except (OSError, http.client.HTTPException):
            pass  # one side is gone: the other one learns it by the end of its connection
        finally:
            self.upstream.close()

    def _serve(self):
        """One request; whether another may follow."""
        line = self.rfile.readline(8192).split()
        if len(line) != 3:
            return False
        headers = http.client.parse_headers(self.rfile)
        method, path = line[0].decode(), line[1].decode()
        if method not in ("GET", "HEAD", "OPTIONS"):
            return False  # nobody sends a body to an edge
        found, viewer = SEGMENT.search(path), headers.get("User-Agent", "")
        segment = found and (found[1], found[2], int(found[3]))
        fault = segment and self.server.proxy.fault_for(self.server.name, viewer, *segment)
        what = KINDS[fault.kind] if fault else {}
        ends = what.get("ends", "")
        if ends == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if ends == "silence":
            return self._say_nothing()
        if "status" in what:
            return self._answer(what["status"], [("Access-Control-Allow-Origin", "*"), ("Cache-Control", "no-store")], b"", method)
        if "seconds" in what:
            self.server.proxy.stopped.wait(what["seconds"])
        self.upstream.request(method, path, headers={k: v for k, v in headers.items() if k.lower() not in NOT_PASSED_ON})
        answer = self.upstream.getresponse()
        body = answer.read()
        kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in NOT_PASSED_ON]
        if ends:
            self._head(answer.status, kept, len(body))
            self.wfile.write(body[:len(body) // 2])
            return ends == "hole" and self._say_nothing()
        whole = self._answer(answer.status, kept, body, method)
        if segment and method == "GET" and answer.status == 200:
            self.server.proxy.delivered(viewer, Delivery(self.server.name, *segment))
        return whole

    def _head(self, status, headers, length):
        lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, '')}", *(f"{k}: {v}" for k, v in headers), f"Content-Length: {length}"]
        self.wfile.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def _answer(self, status, headers, body, method):
        self._head(status, headers, len(body))
        if method != "HEAD":
            self.wfile.write(body)
        return True

    def _say_nothing(self):
        """Until the viewer hangs up: a connection to a dead machine stays silent, whoever took over its address."""
        while not self.server.proxy.stopped.is_set():
            if select.select([self.connection], [], [], 0.1)[0] and not self.connection.recv(4096):
                break
        return False


class FaultProxy:
    """`edges`: the address that viewers know each edge by → (host, port) of the edge itself; all at one port."""

    def __init__(self, edges, port):
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._faults, self._deliveries, self._newest = [], {}, {}
        self._edges = [_Edge(self, host, port, upstream) for host, upstream in edges.items()]

    def arm(self, kind, viewer):
        """From now on, until it is lifted: the next segment that this viewer did not ask for yet."""
        with self._lock:
            fault = Fault(kind, viewer, self._newest.get(viewer, -1))
            self._faults.append(fault)
            return fault

    def deliveries(self, viewer):
        with self._lock:
            return list(self._deliveries.get(viewer, ()))

    def fault_for(self, edge, viewer, stream, rung, msn):
        with self._lock:
            self._newest[viewer] = max(msn, self._newest.get(viewer, -1))
            return next((f for f in self._faults if f.takes(edge, viewer, rung, msn)), None)

    def delivered(self, viewer, delivery):
        with self._lock:
            self._deliveries.setdefault(viewer, []).append(delivery)

    def stop(self):
        self.stopped.set()
        for edge in self._edges:
            edge.shutdown()
            edge.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
