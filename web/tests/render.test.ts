import assert from "node:assert/strict";
import { test } from "node:test";
import * as api from "../src/api";
import { words } from "../src/i18n";
import type { VNode } from "../src/render/dom";
import { dialogView, labelsOf, type Dialog, type FormActions } from "../src/render/forms";
import { nodeSection, serverSection } from "../src/render/machines";
import type { Actions, View } from "../src/render/parts";
import { streamSection } from "../src/render/streams";
import type { NodeStatus, RtmpServerStatus, StreamStatus, TaskStatus } from "../src/types";

const at = "2026-11-22T10:00:00.000Z";
const view = (lang: "en" | "de" = "en"): View => ({ words: words(lang), now: Date.parse(at), busy: new Set(), copied: "", actions: {} as Actions });
const all = (node: VNode | string): VNode[] => (typeof node === "string" ? [] : [node, ...node.children.flatMap(all)]);
const text = (node: VNode | string): string => (typeof node === "string" ? node : node.children.map(text).join(""));
const texts = (node: VNode, tag: string, cssClass?: string): string[] =>
  all(node).filter((n) => n.tag === tag && (cssClass === undefined || n.props["class"] === cssClass)).map(text);
const facts = (node: VNode): Record<string, string> => Object.fromEntries(texts(node, "dt").map((label, index) => [label, texts(node, "dd")[index] ?? ""]));

const server = (more: Partial<RtmpServerStatus> = {}): RtmpServerStatus => ({ name: "in-1", node: "a", publish_url: "rtmp://in-1", watched: true, up: true, trouble: "", publishers: 2, ...more });
const task = (more: Partial<TaskStatus> = {}): TaskStatus => ({
  id: "t", stream_id: "s", type: "hls", options: {}, enabled: true, name: "", comment: "", needs: [], revision: 7, created: at, phase: "running", reason: "", node: "a", epoch: 1, attempts: 1,
  last_cause: "none", last_error: "", standby: null, log_tail: [], progress: { since: at, speed: 1, fps: 0, bitrate: 0, last_output_at: at, output_bytes: 0, dropped_frames: 0, cpu_seconds: 0 }, ...more,
});
const stream: StreamStatus = {
  id: "s", name: "hall", app: "live", vhost: "", enabled: true, title: "", comment: "", revision: 1, created: at, phase: "live", publishers: [], playback_url: "", publish_urls: [], input_server: "", viewing: "open",
  audience: { viewers: 12, bits_per_second: 36e6, hits: 95, misses: 5, sessions: 30, joins: 20, join_seconds: 1.25, stalls: 3, stalled_seconds: 2, played_seconds: 7200 },
};
const shown = (one: TaskStatus, lang: "en" | "de" = "en"): VNode => streamSection({ cluster: { name: "", version: "", now: at }, streams: [stream], tasks: [one], nodes: [], edges: [], rtmp_servers: [] }, new Map(), view(lang));

test("an RTMP server says where it is, how it is and who publishes", () => {
  const up = serverSection([server()], view());
  assert.deepEqual([texts(up, "h3"), texts(up, "code"), texts(up, "span", "chip good"), facts(up)], [["in-1"], ["rtmp://in-1"], ["up"], { node: "a", publishers: "2" }]);
  const down = serverSection([server({ up: false, trouble: "refused" })], view("de"));
  assert.deepEqual([texts(down, "span", "chip bad"), texts(down, "p", "error-line now")], [["nicht lesbar"], ["Letzter Fehler: refused"]]);
  const foreign = serverSection([server({ node: "", watched: false, up: false })], view());
  assert.deepEqual([texts(foreign, "span", "chip idle"), facts(foreign)], [["not watched"], {}]);
  assert.deepEqual(texts(serverSection([], view()), "p"), ["No RTMP server is known: nobody can publish."]);
});

test("a standby is shown with its node and phase, a missing one with its reason", () => {
  assert.equal("standby" in facts(shown(task())), false);
  const runs = shown(task({ standby: { node: "b", phase: "running", reason: "it has most room" } }));
  assert.equal(facts(runs)["standby"], "b running");
  assert.equal(text(runs).includes("most room"), false);
  assert.ok(texts(shown(task({ standby: { node: "b", phase: "backing_off", reason: "no packet" } })), "p").includes("Standby: no packet"));
  const none = shown(task({ standby: { node: "", phase: "waiting", reason: "no node is free" } }), "de");
  assert.ok(texts(none, "p").includes("Keine Reserve: no node is free"));
  assert.equal("Reserve" in facts(none), false);
});

test("a task shows what it needs, and a node its labels in the same form", () => {
  assert.equal(facts(shown(task({ needs: ["gpu", "room=attic"] })))["needs"], "gpu, room=attic");
  assert.equal("needs" in facts(shown(task())), false);
  const node: NodeStatus = {
    name: "a", instance: "", roles: ["worker"], task_types: [], http_url: "", version: "", labels: { gpu: "", room: "attic" }, phase: "ready", capacity: 0, granted: 0, cpu: 0, task_cpu: 0, memory_used: 0, memory_total: 0,
    tasks: 0, joined: at, last_heartbeat: at,
  };
  assert.deepEqual(texts(nodeSection([node], view()), "li").slice(1), ["worker", "gpu", "room=attic"]);
});

/** Sends the dialog's form with these fields; what it asks for. */
function sent(dialog: Dialog, fields: Record<string, string>): unknown[] {
  let got: unknown[] = [];
  const take = (...what: unknown[]): void => void (got = what);
  const form = all(dialogView(dialog, words("en"), { addTask: take, changeTask: take } as unknown as FormActions) as VNode).find((n) => n.tag === "form");
  const real = globalThis.FormData;
  globalThis.FormData = class { get = (name: string): string => fields[name] ?? ""; } as never;
  try {
    (form?.props["onsubmit"] as unknown as (event: unknown) => void)({ preventDefault: () => undefined, currentTarget: null });
  } finally {
    globalThis.FormData = real;
  }
  return got;
}
const change = (one: TaskStatus, problem: api.Problem | null = null): Dialog => ({ kind: "change-task", task: one, problem, busy: false });
const add: Dialog = { kind: "add-task", stream: "s", streamName: "hall", types: [], type: "hls", problem: null, busy: false };

test("needs are typed as one text and sent as a list", () => {
  assert.deepEqual(labelsOf(" gpu, room=attic\tfast ,"), ["gpu", "room=attic", "fast"]);
  assert.deepEqual(labelsOf(""), []);
  assert.deepEqual(sent(add, { name: " x ", needs: "gpu room=attic", options: "{}" }), ["hls", "x", ["gpu", "room=attic"], "{}"]);
  assert.deepEqual(sent(change(task({ needs: ["gpu"] })), { name: "x", needs: "" }), ["x", []]);
  assert.deepEqual(sent(change(task({ needs: ["rack=1,2"] })), { name: "x", needs: "rack=1,2" }), ["x", ["rack=1,2"]], "untouched");
});

test("a problem of needs stands at its field, one without a pointer above the form", () => {
  const problem: api.Problem = { status: 422, code: "", title: "", detail: "the task is not valid", errors: [{ pointer: "/needs/0", detail: "no label" }] };
  const errors = (dialog: Dialog): unknown[] => all(dialogView(dialog, words("en"), {} as FormActions) as VNode).filter((n) => n.props["class"] === "field-error").map((n) => [n.props["id"], text(n)]);
  assert.deepEqual(errors(change(task(), problem)), [["f-needs-error", "0: no label"]]);
  assert.deepEqual(errors({ ...add, problem }), [["f-needs-error", "0: no label"]]);
  assert.deepEqual(errors(change(task(), { ...problem, errors: [] })), [[undefined, "the task is not valid"]]);
});

test("a changed task goes to the version that was seen", async (context) => {
  const asked = context.mock.method(globalThis, "fetch", async () => new Response(null, { status: 204 }));
  await api.changeTask("t", { name: "x", needs: ["gpu"] }, 7);
  const [path, init] = asked.mock.calls[0]?.arguments as unknown as [string, RequestInit];
  assert.deepEqual([path, init.method, init.body, (init.headers as Record<string, string>)["If-Match"]], ["/api/v1/tasks/t", "PATCH", '{"name":"x","needs":["gpu"]}', '"7"']);
});
