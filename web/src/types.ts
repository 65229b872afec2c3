// What the API says: actors/api_json.cpp.

/** "2.5M" bit/s as a person writes it, or plain bits a second. */
export type BitRate = string | number;
/** "512MiB" as a person writes it, or plain bytes. */
export type ByteSize = string | number;
/** RFC 3339 in UTC; null means "never". */
export type Timestamp = string | null;

export type StreamPhase = "offline" | "live" | "ending";
export type TaskPhase = "waiting" | "placed" | "starting" | "running" | "backing_off" | "crash_looping" | "stopping" | "done" | "failed";
export type NodePhase = "joining" | "ready" | "suspect" | "down" | "draining" | "cordoned" | "left";
export type EdgePhase = "starting" | "serving" | "suspect" | "dead" | "draining" | "stopped";

export interface Publisher {
  server: string;
  client_id: string;
  address: string;
  since: Timestamp;
}

export interface Audience {
  viewers: number;
  bits_per_second: number;
  hits: number;
  misses: number;
  /** Since the directors' starts, as all that follows. */
  sessions: number;
  joins: number;
  join_seconds: number | null;
  stalls: number;
  stalled_seconds: number;
  played_seconds: number;
}

/** Who may watch: whoever knows the name, or who has a signed address. */
export type ViewingAccess = "open" | "signed";

export interface StreamStatus {
  id: string;
  name: string;
  app: string;
  vhost: string;
  enabled: boolean;
  title: string;
  comment: string;
  revision: number;
  created: Timestamp;
  viewing: ViewingAccess;
  phase: StreamPhase;
  publishers: Publisher[];
  playback_url: string;
  publish_urls: string[];
  input_server: string;
  audience: Audience;
}

export interface TaskProgress {
  since: Timestamp;
  speed: number;
  fps: number;
  bitrate: BitRate;
  last_output_at: Timestamp;
  output_bytes: number;
  dropped_frames: number;
  cpu_seconds: number;
}

export interface TaskStatus {
  id: string;
  stream_id: string;
  type: string;
  options: unknown;
  enabled: boolean;
  name: string;
  comment: string;
  /** Labels that its node must have, each KEY or KEY=VALUE. */
  needs: string[];
  revision: number;
  created: Timestamp;
  phase: TaskPhase;
  reason: string;
  node: string;
  epoch: number;
  attempts: number;
  last_cause: string;
  last_error: string;
  progress: TaskProgress;
  /** The second run; with an empty node there is none, for this reason. */
  standby: { node: string; phase: TaskPhase; reason: string } | null;
  log_tail: string[];
}

export interface NodeStatus {
  name: string;
  instance: string;
  roles: string[];
  task_types: string[];
  http_url: string;
  version: string;
  labels: Record<string, string>;
  phase: NodePhase;
  /** Cores. */
  capacity: number;
  granted: number;
  cpu: number;
  task_cpu: number;
  memory_used: number;
  memory_total: number;
  tasks: number;
  joined: Timestamp;
  last_heartbeat: Timestamp;
}

export interface EdgeStatus {
  name: string;
  node: string;
  url: string;
  labels: Record<string, string>;
  /** The group of edges that it is in; empty: none. */
  locality: string;
  networks: string[];
  networks_only: boolean;
  /** Bits a second. */
  capacity: number;
  phase: EdgePhase;
  weight: number;
  suspicion: number;
  load: {
    bits_per_second: number; requests: number; hits: number; misses: number; errors: number; connections: number; viewers: number; up: boolean;
  };
  restarts: number;
  last_error: string;
}

export interface RtmpServerStatus {
  name: string;
  /** That runs it; empty where somebody else does. */
  node: string;
  publish_url: string;
  /** Its own list of publishers is read, */
  watched: boolean;
  /** and was, the last time. */
  up: boolean;
  trouble: string;
  publishers: number;
}

/** The SSE event `state` of GET /api/v1/live. */
export interface ClusterState {
  cluster: { name: string; version: string; now: Timestamp };
  streams: StreamStatus[];
  tasks: TaskStatus[];
  nodes: NodeStatus[];
  edges: EdgeStatus[];
  rtmp_servers: RtmpServerStatus[];
}

/** The SSE event `event` of GET /api/v1/live. */
export interface WeirEvent {
  number: number;
  at: Timestamp;
  kind: string;
  subject: string;
  text: string;
  actor: string;
}

export interface JsonSchema {
  type?: string | string[];
  description?: string;
  default?: unknown;
  enum?: unknown[];
  properties?: Record<string, JsonSchema>;
  required?: string[];
  items?: JsonSchema;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
}

export interface TaskType {
  name: string;
  summary: string;
  schema: JsonSchema;
}

/** GET /api/v1/public/streams/{name}: what a viewer without a token may know. */
export interface PublicStream {
  name: string;
  title: string;
  live: boolean;
}
