"""An RTMP server that counts who publishes under which name and when: the restreams' target in chaos.py."""

import selectors
import socket
import struct
import threading

from chaos_invariants import SLOT, Push

def amf_number(value):
    return b"\0" + struct.pack(">d", value)


def amf_text(text):
    return b"\2" + struct.pack(">H", len(text)) + text.encode()


def amf_object(**fields):
    return b"\3" + b"".join(struct.pack(">H", len(k)) + k.encode() + amf_text(v) for k, v in fields.items()) + b"\0\0\x09"


def rtmp_message(type_, body, stream=0):
    out = b"\3\0\0\0" + struct.pack(">I", len(body))[1:] + bytes([type_]) + struct.pack("<I", stream)
    for i in range(0, len(body), 128):
        out += (b"\xc3" if i else b"") + body[i:i + 128]
    return out


class Pushing:
    """One connection at the sink, read as far as its publish command; what follows is only counted by time."""

    def __init__(self, connection, who):
        self.connection, self.who = connection, who
        self.buffer = b""
        self.step = self._hello
        self.chunk_size, self.former, self.parts = 128, {}, {}
        self.target, self.began, self.slots, self.bytes = None, 0.0, set(), 0

    def take(self, data, now):
        if self.target is not None:
            self.slots.add(int(now / SLOT))
            self.bytes += len(data)
            return
        self.buffer += data
        while self.target is None and self.step(now):
            pass

    def _hello(self, _):
        if len(self.buffer) < 1537:
            return False
        self.connection.sendall(b"\3" + b"\0" * 8 + b"w" * 1528 + self.buffer[1:1537])
        self.buffer, self.step = self.buffer[1537:], self._echo
        return True

    def _echo(self, _):
        if len(self.buffer) < 1536:
            return False
        self.buffer, self.step = self.buffer[1536:], self._chunk
        return True

    def _chunk(self, now):
        b = self.buffer
        if not b:
            return False
        form, channel, at = b[0] >> 6, b[0] & 63, 1
        if channel < 2:
            at = 2 + channel
            if len(b) < at:
                return False
            channel = 64 + b[1] + (b[2] << 8 if at == 3 else 0)
        size = (11, 7, 3, 0)[form]
        if len(b) < at + size:
            return False
        length, type_ = self.former.get(channel, (0, 0))
        if form < 2:
            length, type_ = int.from_bytes(b[at + 3:at + 6], "big"), b[at + 6]
        if form < 3 and b[at:at + 3] == b"\xff\xff\xff":
            size += 4
        at += size
        have = self.parts.get(channel, b"")
        take = min(self.chunk_size, length - len(have))
        if len(b) < at + take:
            return False
        self.former[channel] = (length, type_)
        have += b[at:at + take]
        self.buffer = b[at + take:]
        self.parts[channel] = b"" if len(have) == length else have
        if len(have) == length:
            self._message(type_, have, now)
        return True

    def _message(self, type_, body, now):
        if type_ == 1:
            self.chunk_size = int.from_bytes(body, "big")
        if type_ != 20:
            return
        length = struct.unpack(">H", body[1:3])[0]
        command = body[3:3 + length].decode(errors="replace")
        number = body[3 + length:12 + length]
        rest = body[12 + length:]
        if command == "connect":
            self.connection.sendall(rtmp_message(5, struct.pack(">I", 2500000)) + rtmp_message(6, struct.pack(">IB", 2500000, 2)) +
                                    rtmp_message(20, amf_text("_result") + number + amf_object(fmsVer="FMS/3,0,1,123") +
                                                 amf_object(level="status", code="NetConnection.Connect.Success", description="ok")))
        elif command == "createStream":
            self.connection.sendall(rtmp_message(20, amf_text("_result") + number + b"\5" + amf_number(1)))
        elif command == "publish":
            size = struct.unpack(">H", rest[2:4])[0]
            self.connection.sendall(rtmp_message(20, amf_text("onStatus") + amf_number(0) + b"\5" +
                                                 amf_object(level="status", code="NetStream.Publish.Start", description="go on"), 1))
            self.target, self.began = rest[4:4 + size].decode(errors="replace"), now


class Sink(threading.Thread):
    """An RTMP server that takes whatever is published, also twice under one name: it is here to see that."""

    def __init__(self, clock, host):
        super().__init__(daemon=True)
        self.clock = clock
        self.listener = socket.create_server((host, 0))
        self.port = self.listener.getsockname()[1]
        self.all = []
        self.troubles = []
        self._done = False

    def run(self):
        selector = selectors.DefaultSelector()
        selector.register(self.listener, selectors.EVENT_READ)
        while not self._done:
            for key, _ in selector.select(0.2):
                if key.data is None:
                    connection, address = self.listener.accept()
                    connection.settimeout(1)
                    one = Pushing(connection, f"{address[0]}:{address[1]}")
                    self.all.append(one)
                    selector.register(connection, selectors.EVENT_READ, one)
                    continue
                try:
                    data = key.fileobj.recv(65536)
                    key.data.take(data, self.clock())
                except (OSError, struct.error, IndexError) as e:
                    if not isinstance(e, OSError):
                        self.troubles.append(repr(e))
                    data = b""
                if not data:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
        selector.close()
        self.listener.close()

    def pushes(self, since=-1.0):
        return [Push(p.target, p.began, set(p.slots), p.who) for p in list(self.all) if p.target is not None and (not p.slots or max(p.slots) * SLOT >= since)]

    def stop(self):
        self._done = True
        self.join(5)
