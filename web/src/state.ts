// What the dashboard knows, and how each message changes it. Pure, so that it tests without a page.
import { time } from "./format";
import type { ClusterState, RtmpServerStatus, TaskStatus, WeirEvent } from "./types";

export type Connection = { phase: "connecting" } | { phase: "open" } | { phase: "lost"; retryAt: number };

/** A row of the feed: something that happened, or a hole where the page knows that it missed something. */
export type FeedRow = { kind: "event"; event: WeirEvent } | { kind: "gap"; before: number; missed: number };

export interface Model {
  signedIn: boolean;
  connection: Connection;
  cluster: ClusterState | null;
  /** When `cluster` arrived, on this machine's clock. */
  receivedAt: number;
  /** Server's clock minus this machine's. */
  skew: number;
  /** Newest first. */
  feed: FeedRow[];
  /** Bits a second of each edge, oldest first: the last minute. */
  history: Record<string, number[]>;
}

export type Action =
  | { type: "opened" }
  | { type: "lost"; retryAt: number }
  | { type: "unauthorised" }
  | { type: "signing-in" }
  | { type: "state"; state: ClusterState; at: number }
  | { type: "event"; event: WeirEvent };

export const feedLimit = 200;
export const historyLimit = 60;

/** Viewers fetch a segment every few seconds, so that a single second says little: the mean of the last ten reports. */
export function recentRate(history: number[] | undefined): number {
  const last = (history ?? []).slice(-10);
  return last.length ? last.reduce((sum, value) => sum + value, 0) / last.length : 0;
}

export const initial: Model = { signedIn: true, connection: { phase: "connecting" }, cluster: null, receivedAt: 0, skew: 0, feed: [], history: {} };

function newest(feed: FeedRow[]): number {
  const first = feed[0];
  return first === undefined ? 0 : first.kind === "event" ? first.event.number : first.before - 1;
}

function addEvent(feed: FeedRow[], event: WeirEvent): FeedRow[] {
  const last = newest(feed);
  if (last && event.number <= last) return feed; // a replay after a reconnect
  const missed = last ? event.number - last - 1 : 0; // the server's ring no longer had them
  const rows: FeedRow[] = [{ kind: "event", event }];
  if (missed > 0) rows.push({ kind: "gap", before: event.number, missed });
  return [...rows, ...feed].slice(0, feedLimit);
}

export function reduce(model: Model, action: Action): Model {
  switch (action.type) {
    case "opened":
      return { ...model, signedIn: true, connection: { phase: "open" } };
    case "lost":
      return { ...model, connection: { phase: "lost", retryAt: action.retryAt } };
    case "unauthorised":
      return { ...initial, signedIn: false };
    case "signing-in":
      return { ...initial };
    case "state": {
      const history: Record<string, number[]> = {};
      for (const edge of action.state.edges)
        history[edge.name] = [...(model.history[edge.name] ?? []), edge.load.bits_per_second].slice(-historyLimit);
      const now = time(action.state.cluster.now);
      return { ...model, cluster: action.state, receivedAt: action.at, skew: now ? now - action.at : 0, history };
    }
    case "event":
      return { ...model, feed: addEvent(model.feed, action.event) };
  }
}

export type Severity = "bad" | "warn";
/** Something that an operator should look at; `target` is the id of its card on the page. */
export interface Problem {
  severity: Severity;
  kind: "stream" | "task" | "node" | "edge" | "server";
  name: string;
  phase: string;
  detail: string;
  target: string;
}

export const taskName = (task: TaskStatus): string => task.name || task.type;

/** The API gives a server two flags; the page shows one phase, as of a node or an edge. */
export const serverPhase = (server: RtmpServerStatus): "up" | "unreachable" | "unwatched" => (server.watched ? (server.up ? "up" : "unreachable") : "unwatched");

export function problems(state: ClusterState): Problem[] {
  const out: Problem[] = [];
  const streams = new Map(state.streams.map((s) => [s.id, s]));
  for (const task of state.tasks) {
    if (!["backing_off", "crash_looping", "failed"].includes(task.phase)) continue;
    const stream = streams.get(task.stream_id);
    const name = `${stream?.title || stream?.name || task.stream_id} · ${taskName(task)}`;
    const severity = task.phase === "backing_off" ? "warn" : "bad";
    out.push({ severity, kind: "task", name, phase: task.phase, detail: task.last_error || task.reason, target: `task-${task.id}` });
  }
  for (const node of state.nodes)
    if (node.phase === "suspect" || node.phase === "down")
      out.push({ severity: node.phase === "down" ? "bad" : "warn", kind: "node", name: node.name, phase: node.phase, detail: "", target: `node-${node.name}` });
  for (const edge of state.edges)
    if (edge.phase === "suspect" || edge.phase === "dead")
      out.push({
        severity: edge.phase === "dead" ? "bad" : "warn", kind: "edge", name: edge.name, phase: edge.phase, detail: edge.last_error, target: `edge-${edge.name}`,
      });
  for (const server of state.rtmp_servers) {
    const phase = serverPhase(server);
    if (phase === "unreachable") out.push({ severity: "bad", kind: "server", name: server.name, phase, detail: server.trouble, target: `server-${server.name}` });
  }
  return out.sort((a, b) => Number(b.severity === "bad") - Number(a.severity === "bad"));
}
