import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { backoff, follow, SseParser, type SseMessage } from "../src/sse";

test("messages are found however the bytes are cut", () => {
  const text = ': hello\n\nevent: state\ndata: {"a":1}\n\nid: 7\nevent: event\ndata: one\ndata: two\n\ndata\n\nretry: 5\nid: 8\n\n';
  for (const size of [1, 2, 3, 7, text.length]) {
    const parser = new SseParser();
    const got: SseMessage[] = [];
    for (let at = 0; at < text.length; at += size) got.push(...parser.push(text.slice(at, at + size)));
    assert.deepEqual(got, [{ event: "state", data: '{"a":1}', id: "" }, { event: "event", data: "one\ntwo", id: "7" }, { event: "message", data: "", id: "" }], `pieces of ${size}`);
  }
});

test("all three line ends count, also when CR and LF come apart", () => {
  const parser = new SseParser();
  const got = ["data: a\r", "\n\r", "\ndata: b\r\rdata: c\n\n", ""].flatMap((piece) => parser.push(piece));
  assert.deepEqual(got.map((m) => m.data), ["a", "b", "c"]);
});

test("waiting grows to 15 s and is spread", () => {
  assert.equal(backoff(0, () => 0.5), 1000);
  assert.equal(backoff(3, () => 0.5), 8000);
  assert.equal(backoff(50, () => 0.5), 15_000);
  assert.ok(backoff(50, () => 0) < backoff(50, () => 1));
});

async function serve(answer: Parameters<typeof createServer>[1]): Promise<{ server: Server; url: string }> {
  const server = createServer(answer as never);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` };
}

test("after a lost connection it comes back with the last id it saw", { timeout: 20_000 }, async () => {
  const ids: (string | undefined)[] = [];
  const { server, url } = await serve((request, response) => {
    ids.push(request.headers["last-event-id"] as string | undefined);
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    if (ids.length === 1) response.end("id: 41\nevent: event\ndata: {}\n\nevent: state\ndata: {}\n\n");
    else response.write("id: 42\nevent: event\ndata: {}\n\n");
  });
  const seen: string[] = [];
  let lost = 0;
  await new Promise<void>((done) => {
    const stop = follow({ url, onOpen: () => undefined, onUnauthorised: () => assert.fail("not refused"), onLost: (at) => (assert.ok(at > Date.now()), ++lost),
      onMessage: (m) => {
        seen.push(`${m.event}:${m.id}`);
        if (m.id === "42") {
          stop();
          done();
        }
      } });
  });
  server.closeAllConnections();
  server.close();
  assert.deepEqual(ids, [undefined, "41"]);
  assert.deepEqual(seen, ["event:41", "state:", "event:42"]);
  assert.equal(lost, 1);
});

test("a refusal with 401 ends it, any other status does not", { timeout: 20_000 }, async () => {
  const statuses = [503, 401];
  let asked = 0;
  const { server, url } = await serve((_, response) => void response.writeHead(statuses[asked++] ?? 500).end());
  let lost = 0;
  await new Promise<void>((done) => follow({ url, onOpen: () => assert.fail("never open"), onMessage: () => assert.fail("no message"), onLost: () => ++lost, onUnauthorised: done }));
  server.close();
  assert.equal(asked, 2);
  assert.equal(lost, 1);
});
