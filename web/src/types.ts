// What the API says, named as in schemas/*.hpp: JSON keys are the names of fields().

/** "2.5M" bit/s as a person writes it, or plain bits a second. */
export type BitRate = string | number;
/** "512MiB" as a person writes it, or plain bytes. */
export type ByteSize = string | number;
/** RFC 3339 in UTC; the epoch's start means "never". */
export type Timestamp = string;

export type StreamPhase = "offline" | "live" | "ending";
export type TaskPhase = "waiting" | "placed" | "starting" | "running" | "backing_off" | "crash_looping" | "stopping" | "done" | "failed";
export type NodePhase = "joining" | "ready" | "suspect" | "down" | "draining" | "cordoned" | "left";
export type EdgePhase = "starting" | "serving" | "suspect" | "dead" | "draining" | "stopped";

export interface Publisher {
  server: string;
  service_id: string;
  client_id: string;
  address: string;
  since: Timestamp;
}

export interface StreamStatus {
  spec: { id: string; name: string; app: string; vhost: string; enabled: boolean; title: string; comment: string; revision: number; created: Timestamp };
  phase: StreamPhase;
  publishers: Publisher[];
  playback_url: string;
  publish_urls: string[];
  input_server: string;
}

export interface TaskProgress {
  since: Timestamp;
  speed_milli: number;
  fps_milli: number;
  bitrate: BitRate;
  last_output_at: Timestamp;
  output_bytes: number;
  dropped_frames: number;
  cpu_milliseconds: number;
}

export interface TaskStatus {
  spec: { id: string; stream_id: string; type: string; options: unknown; enabled: boolean; name: string; comment: string; revision: number; created: Timestamp };
  phase: TaskPhase;
  reason: string;
  node: string;
  epoch: number;
  attempts: number;
  last_cause: string;
  last_error: string;
  progress: TaskProgress;
  log_tail: string[];
}

export interface NodeStatus {
  spec: { name: string; instance: string; roles: string[]; task_types: string[]; capacity_milli: number; http_url: string; version: string };
  phase: NodePhase;
  load: { cpu_milli: number; task_cpu_milli: number; memory_used: ByteSize; memory_total: ByteSize; tasks: number };
  granted_milli: number;
  joined: Timestamp;
  last_heartbeat: Timestamp;
}

export interface EdgeStatus {
  spec: { name: string; node: string; url: string; capacity_bps: number };
  phase: EdgePhase;
  weight_milli: number;
  phi_milli: number;
  load: {
    edge: string; sequence: number; bits_per_second: number; requests: number; hits: number; misses: number; errors: number;
    connections: number; writing: number; viewers: number; up: boolean;
  };
  restarts: number;
  last_error: string;
}

/** The SSE event `state` of GET /api/v1/live. */
export interface ClusterState {
  cluster: { name: string; version: string; now: Timestamp };
  streams: StreamStatus[];
  tasks: TaskStatus[];
  nodes: NodeStatus[];
  edges: EdgeStatus[];
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
