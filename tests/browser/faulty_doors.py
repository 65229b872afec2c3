"""What stands between a browser and a server and spoils answers on purpose: for one player, from the next fitting request on (hls.md 14, gate 4)."""

import contextlib
import re
import socket
import struct
import threading
import time
from collections import namedtuple

LARGEST_HEAD = 65536
LARGEST_ANSWER = 16 << 20


Passed = namedtuple("Passed", "at player door path")


class Fault:
    """`act(exchange)` answers in the server's stead the requests for which `wanted(path)` holds: the first one alone, or with `lasting` all that come to
    the same door within `seconds` of it."""

    def __init__(self, act, wanted, seconds=0.0, lasting=False):
        self.act, self.wanted, self.seconds, self.lasting = act, wanted, seconds, lasting
        self.hits, self.began, self.door = 0, None, None
        self.given_up = threading.Event()

    def takes(self, door, path):
        if not self.wanted(path):
            return False
        if self.began is None:
            self.began, self.door = time.time(), door
        elif not self.lasting or door is not self.door or self.left() <= 0:
            return False
        self.hits += 1
        return True

    def left(self):
        """Seconds for which it still holds."""
        return self.began + self.seconds - time.time()

    @property
    def over(self):
        return self.began is not None and self.left() <= 0

    def wait(self, seconds=None):
        """Lets that time pass, or all that it still holds."""
        self.given_up.wait(max(0.0, self.left() if seconds is None else seconds))


class Faults:
    """The fault of each player, and which answers went through whole."""

    def __init__(self):
        self._lock = threading.Lock()
        self._armed = {}
        self._passed = []
        self._former = {}   # (player, path) → answer

    def arm(self, player, fault):
        with self._lock:
            self._armed[player] = fault

    def clear(self):
        with self._lock:
            for fault in self._armed.values():
                fault.given_up.set()
            self._armed.clear()

    def of(self, player, door, path):
        with self._lock:
            fault = self._armed.get(player)
            return fault if fault and fault.takes(door, path) else None

    def note(self, exchange, answer):
        if not answer.startswith(b"HTTP/1.1 200"):
            return
        with self._lock:
            self._passed.append(Passed(time.time(), exchange.player, exchange.door, exchange.path))
            if "/p/" in exchange.path:
                self._former[exchange.player, exchange.path] = answer

    def former(self, exchange):
        with self._lock:
            return self._former.get((exchange.player, exchange.path))

    def passed_since(self, moment, player):
        """What went through whole for that player since then, in order."""
        with self._lock:
            return [p for p in self._passed if p.at > moment and p.player == player]


class Exchange:
    """One request and its answer, on connections of their own."""

    def __init__(self, client, door):
        self.client, self.door = client, door
        head = self._read_head()
        self.line, _, fields = head.partition(b"\r\n")
        self.path = self.line.split(b" ")[1].partition(b"?")[0].decode()
        self.fields = [f for f in fields.split(b"\r\n") if f and not f.lower().startswith((b"connection:", b"keep-alive:"))]
        agent = re.search(rb"(?i)\r\nuser-agent:[^\r]* player/(\w+)", head)
        self.player = agent[1].decode() if agent else ""
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        self.body = self._read_body(int(length[1]) if length else 0)

    def _read_head(self):
        self._read = b""
        while b"\r\n\r\n" not in self._read:
            more = self.client.recv(65536)
            if not more or len(self._read) > LARGEST_HEAD:
                raise ConnectionError("no request")
            self._read += more
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        return head

    def _read_body(self, length):
        while len(self._read) < min(length, LARGEST_HEAD):
            more = self.client.recv(65536)
            if not more:
                raise ConnectionError("half a request")
            self._read += more
        return self._read[:length]

    def fetch(self):
        """The server's answer, whole."""
        with socket.create_connection(self.door.upstream, timeout=20) as server:
            server.sendall(b"\r\n".join([self.line, *self.fields, b"Connection: close", b"", self.body]))
            answer = bytearray()
            while more := server.recv(1 << 18):
                answer += more
                if len(answer) > LARGEST_ANSWER:
                    raise ConnectionError("too large an answer")
        return bytes(answer)

    def send(self, data):
        self.client.sendall(data)

    def pass_on(self):
        answer = self.fetch()
        self.send(answer)
        self.door.faults.note(self, answer)

    def fetch_half(self):
        """The head and half the body."""
        answer = self.fetch()
        body = answer.index(b"\r\n\r\n") + 4
        return answer[:body + (len(answer) - body) // 2]


class Door:
    """Listens at `address` in front of `upstream`, one thread a request."""

    def __init__(self, address, upstream, faults):
        self.upstream, self.faults = upstream, faults
        self.url = f"http://{address[0]}:{address[1]}"
        self._listener = socket.create_server(address, backlog=128)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client):
        # A browser that gives up closes its side, which is what most faults lead to; a server that is away looks the same from here as from there.
        with client, contextlib.suppress(OSError):
            client.settimeout(60)
            exchange = Exchange(client, self)
            fault = self.faults.of(exchange.player, self, exchange.path)
            if fault:
                fault.act(exchange, fault)
            else:
                exchange.pass_on()

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


# --- what may happen to a request -----------------------------------------------------------------------------------------------


def status(code):
    """Answered with that status, as nginx does."""
    def act(exchange, _):
        exchange.send(f"HTTP/1.1 {code} Fault\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    return act


def late(seconds):
    """Nothing comes for that long, then all."""
    def act(exchange, fault):
        fault.wait(seconds)
        exchange.pass_on()
    return act


def cut(exchange, _):
    """The connection ends in the middle of the body."""
    exchange.send(exchange.fetch_half())


def hole(exchange, fault):
    """Nothing is answered; the connection stays."""
    fault.wait()


def hole_in_body(exchange, fault):
    """After half the body nothing more comes; the connection stays."""
    exchange.send(exchange.fetch_half())
    fault.wait()


def reset(exchange, _):
    """RST, as from a machine where nobody listens."""
    exchange.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def slow(bytes_a_second):
    """A trickle while the fault holds, the rest at once."""
    def act(exchange, fault):
        answer = exchange.fetch()
        step, sent = bytes_a_second // 10, 0
        while sent < len(answer) and not fault.over:
            exchange.send(answer[sent:sent + step])
            sent += step
            fault.wait(0.1)
        exchange.send(answer[sent:])
    return act


def stale(exchange, fault):
    """The answer that this player got before; where there is none, it was not hit."""
    former = exchange.door.faults.former(exchange)
    if former:
        exchange.send(former)
    else:
        fault.hits -= 1
        exchange.pass_on()
