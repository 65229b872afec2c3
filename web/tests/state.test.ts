import assert from "node:assert/strict";
import { test } from "node:test";
import { feedLimit, historyLimit, initial, problems, recentRate, reduce, type Model } from "../src/state";
import type { ClusterState, EdgeStatus, NodeStatus, RtmpServerStatus, TaskStatus, WeirEvent } from "../src/types";

const at = "2026-11-22T10:00:00.000Z";
const event = (number: number): WeirEvent => ({ number, at, kind: "stream-live", subject: "stream/x", text: "x is live", actor: "hook" });
const feed = (model: Model): (number | string)[] => model.feed.map((row) => (row.kind === "gap" ? `${row.missed} before ${row.before}` : row.event.number));
const after = (...numbers: number[]): Model => numbers.reduce((model, n) => reduce(model, { type: "event", event: event(n) }), initial);

const edge = (name: string, phase: EdgeStatus["phase"], bits = 0): EdgeStatus => ({
  name, node: "n", url: "http://e", labels: {}, locality: "", networks: [], networks_only: false, capacity: 1, phase, weight: 1, suspicion: 0, restarts: 0, last_error: "silent",
  load: { bits_per_second: bits, requests: 0, hits: 0, misses: 0, errors: 0, connections: 0, viewers: 0, up: true },
});
const task = (phase: TaskStatus["phase"]): TaskStatus => ({
  id: phase, stream_id: "s", type: "hls", options: {}, enabled: true, name: "", comment: "", needs: [], revision: 1, created: at, phase, reason: "", node: "", epoch: 1, attempts: 1, last_cause: "none",
  last_error: "boom", standby: null, log_tail: [], progress: { since: at, speed: 0, fps: 0, bitrate: "0", last_output_at: at, output_bytes: 0, dropped_frames: 0, cpu_seconds: 0 },
});
const node = (name: string, phase: NodeStatus["phase"]): NodeStatus => ({
  name, instance: "", roles: [], task_types: [], http_url: "", version: "", labels: {}, phase, capacity: 0, granted: 0, cpu: 0, task_cpu: 0, memory_used: 0, memory_total: 0, tasks: 0, joined: at, last_heartbeat: at,
});
const server = (name: string, watched: boolean, up: boolean): RtmpServerStatus => ({ name, node: "n", publish_url: "rtmp://n", watched, up, trouble: "connection refused", publishers: 0 });
const cluster = (more: Partial<ClusterState> = {}): ClusterState => ({ cluster: { name: "c", version: "1", now: at }, streams: [], tasks: [], nodes: [], edges: [], rtmp_servers: [], ...more });

test("the feed is newest first, and a replay after a reconnect adds nothing twice", () => {
  assert.deepEqual(feed(after(5, 6, 7)), [7, 6, 5]);
  assert.deepEqual(feed(after(5, 6, 5, 6, 7)), [7, 6, 5]);
});

test("a hole in the numbers is shown where it is", () => {
  assert.deepEqual(feed(after(5, 9, 10)), [10, 9, "3 before 9", 5]);
});

test("the feed stays within its limit", () => {
  const model = after(...Array.from({ length: feedLimit + 50 }, (_, n) => n + 1));
  assert.equal(model.feed.length, feedLimit);
  assert.equal(feed(model)[0], feedLimit + 50);
});

test("losing the connection keeps the data, its age and the feed", () => {
  let model = reduce(reduce(after(1), { type: "opened" }), { type: "state", state: cluster(), at: 1000 });
  model = reduce(model, { type: "lost", retryAt: 5000 });
  assert.deepEqual(model.connection, { phase: "lost", retryAt: 5000 });
  assert.equal(model.receivedAt, 1000);
  assert.notEqual(model.cluster, null);
  assert.deepEqual(feed(model), [1]);
  assert.deepEqual(reduce(model, { type: "opened" }).connection, { phase: "open" });
});

test("a refusal forgets everything that was shown", () => {
  const model = reduce(reduce(after(1), { type: "state", state: cluster(), at: 1 }), { type: "unauthorised" });
  assert.deepEqual(model, { ...initial, signedIn: false });
});

test("the server's clock is taken from its messages", () => {
  assert.equal(reduce(initial, { type: "state", state: cluster(), at: Date.parse(at) - 2500 }).skew, 2500);
});

test("each edge keeps a minute of its load, and a gone edge is forgotten", () => {
  let model = initial;
  for (let n = 1; n <= historyLimit + 5; ++n) model = reduce(model, { type: "state", state: cluster({ edges: [edge("a", "serving", n)] }), at: n });
  assert.equal(model.history["a"]?.length, historyLimit);
  assert.equal(model.history["a"]?.at(-1), historyLimit + 5);
  assert.deepEqual(reduce(model, { type: "state", state: cluster(), at: 99 }).history, {});
});

test("the rate shown is the mean of the last ten reports", () => {
  assert.equal(recentRate(undefined), 0);
  assert.equal(recentRate([1000, 10, 20]), 1030 / 3);
  assert.equal(recentRate([1e9, ...Array<number>(5).fill(0), ...Array<number>(5).fill(10)]), 5);
});

test("what needs attention comes worst first, and healthy things do not", () => {
  const found = problems(cluster({ tasks: [task("running"), task("backing_off"), task("crash_looping"), task("failed")], nodes: [node("a", "ready"), node("b", "suspect")], edges: [edge("e", "dead"), edge("f", "serving")] }));
  assert.deepEqual(found.map((p) => `${p.severity} ${p.kind} ${p.phase}`), ["bad task crash_looping", "bad task failed", "bad edge dead", "warn task backing_off", "warn node suspect"]);
});

test("of the RTMP servers only a watched one that is not up needs attention", () => {
  const found = problems(cluster({ rtmp_servers: [server("a", true, true), server("b", true, false), server("c", false, false)] }));
  assert.deepEqual(found, [{ severity: "bad", kind: "server", name: "b", phase: "unreachable", detail: "connection refused", target: "server-b" }]);
});
