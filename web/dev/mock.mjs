// A stand-in for the program, for looking at the pages while they are changed: node dev/mock.mjs [--port N] [--empty|--trouble] [--video]
// --video plays a test picture that ffmpeg makes, through two "edges" on ports of their own. The token is "dev".
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "..", "dist");
const argument = (name, otherwise) => (process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : otherwise);
const has = (name) => process.argv.includes(name);
const types = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
  ".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t" };

const start = Date.now();
const ago = (seconds) => new Date(Date.now() - seconds * 1000).toISOString();
const uuid = (n) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
const wave = (base, part, period) => Math.round(base * (1 + part * Math.sin((Date.now() - start) / 1000 / period)));

const stream = (n, name, title, phase, enabled = true) => ({
  id: uuid(n), name, app: "live", vhost: "__defaultVhost__", enabled, title, comment: "", revision: 3, created: ago(86400 * n), viewing: n === 2 ? "signed" : "open",
  phase, publishers: phase === "live" ? [{ server: "ingest-1", service_id: "s1", client_id: `c${n}`, address: "203.0.113.7", since: ago(312 + (Date.now() - start) / 1000) }] : [],
  playback_url: `http://weir.example.org:8080/hls/${name}/index.m3u8`, publish_urls: [`rtmp://ingest-1.example.org/live/${name}`], input_server: "ingest-1",
  audience: { viewers: 120, bits_per_second: 360e6, hits: 980, misses: 20, sessions: 300, joins: 200, join_seconds: 1.25, stalls: 3, stalled_seconds: 2, played_seconds: 72000 },
});
const task = (n, of, type, name, phase, more = {}) => ({
  id: uuid(n), stream_id: uuid(of), type, options: {}, enabled: true, name, comment: "", revision: 1, created: ago(9000),
  needs: [], phase, reason: "", node: phase === "waiting" ? "" : "node-a", epoch: n, attempts: 1, last_cause: "none", last_error: "", standby: null,
  progress: { since: ago(300), speed: wave(1000, 0.01, 3) / 1000, fps: 25, bitrate: type === "hls" ? "6.2M" : "4.1M", last_output_at: ago(0), output_bytes: 2e8, dropped_frames: 0, cpu_seconds: 51 },
  log_tail: ["[info] input: h264 1920x1080 25 fps, aac 48 kHz stereo", "[info] rungs: 1080p 720p 480p 360p", "[warning] source clock jumped by 41 ms"], ...more,
});
const node = (name, roles, phase = "ready") => ({
  name, instance: "i", roles, task_types: ["hls", "restream"], capacity: 8, http_url: "", version: "0.1.0", labels: { room: "control" }, phase,
  cpu: wave(name === "node-a" ? 5200 : 900, 0.15, 9) / 1000, task_cpu: 4, memory_used: 3.1e9, memory_total: 16e9, tasks: name === "node-a" ? 3 : 0,
  granted: 4.2, joined: ago(7200), last_heartbeat: ago(phase === "ready" ? 0.4 : 14),
});
const edge = (n, phase = "serving", more = {}) => ({
  name: `edge-${n}`, node: "node-b", url: `http://edge-${n}.example.org:8081`, labels: n === 3 ? { room: "hall-1" } : {},
  locality: n === 3 ? "hall-1" : "", networks: n === 3 ? ["10.20.0.0/16"] : [], networks_only: n === 3, capacity: 1e9, phase, weight: [1, 0.94, 0.31][n - 1], suspicion: 0.2,
  load: { edge: `edge-${n}`, sequence: 1, bits_per_second: phase === "dead" ? 0 : wave([4.1e8, 7.9e8, 9.4e8][n - 1], 0.12, 5 + n), requests: 310, hits: 301, misses: 9, errors: 0, connections: 420, writing: 12,
    viewers: phase === "dead" ? 0 : wave(120 * n, 0.1, 11), up: phase !== "dead" }, restarts: 0, last_error: "", ...more,
});

const rtmpServer = (n, more = {}) => ({ name: `ingest-${n}`, node: "node-a", publish_url: `rtmp://ingest-${n}.example.org`, watched: true, up: true, trouble: "", publishers: 2, ...more });

function state() {
  const cluster = { name: "main stage", version: "0.1.0", now: new Date().toISOString() };
  if (has("--empty")) return { cluster, streams: [], tasks: [], nodes: [node("node-a", ["coordinator", "worker"])], edges: [], rtmp_servers: [] };
  const trouble = has("--trouble");
  return {
    cluster,
    streams: [stream(1, "hall-1", "Main hall", "live"), stream(2, "workshop", "Workshop on time stamps, key frames and everything", "live"), stream(3, "hall-2", "Second hall", trouble ? "ending" : "offline"), stream(4, "spare", "", "offline", false)],
    tasks: [task(11, 1, "hls", "", "running", { needs: ["room=control"], standby: trouble ? { node: "", phase: "waiting", reason: "no node can take it: node-b is suspect" } : { node: "node-b", phase: "running", reason: "it has most room" } }), task(12, 1, "restream", "Archive at the university", trouble ? "crash_looping" : "running",
      trouble ? { attempts: 9, last_cause: "target_refused", last_error: "rtmp://target.example.org/in/***: the server answered NetStream.Publish.BadName", reason: "too many errors in 5 min, tried again every 30 s" } : {}),
    task(13, 2, "hls", "", trouble ? "backing_off" : "starting", { attempts: 2, last_cause: "source_stalled", last_error: "no packet for 10 s" }), task(14, 3, "hls", "", "waiting", { reason: "stream is offline", attempts: 0 })],
    nodes: [node("node-a", ["coordinator", "ingest", "worker", "origin", "director"]), node("node-b", ["edge"], trouble ? "suspect" : "ready")],
    edges: [edge(1), edge(2), edge(3, trouble ? "dead" : "serving", trouble ? { last_error: "probe: connection refused", restarts: 4 } : {})],
    rtmp_servers: [rtmpServer(1), rtmpServer(2, trouble ? { up: false, trouble: "http://127.0.0.1:8082/stat: connection refused", publishers: 0 } : {}), rtmpServer(3, { node: "", watched: false, up: false, publishers: 0 })],
  };
}

const kinds = [["stream-live", "stream/hall-1", "Main hall is live: published on ingest-1 from 203.0.113.7.", "hook"], ["task-running", "task/hls", "hls of hall-1 runs on node-a, first segment after 3.1 s.", "node-a"],
  ["edge-serving", "edge/edge-2", "edge-2 answers probes again and takes viewers.", "coordinator"], ["task-ended", "task/restream", "restream of hall-1 ended: target refused the publication.", "node-a"]];
const events = Array.from({ length: 14 }, (_, n) => event(n + 1, (14 - n) * 47));
function event(number, secondsAgo) {
  const [kind, subject, text, actor] = kinds[number % kinds.length];
  return { number: number > 9 ? number + 3 : number, at: ago(secondsAgo), kind, subject, text, actor };
}

const taskTypes = [
  { name: "hls", summary: "Multi-variant HLS for viewers.", schema: { type: "object", properties: { ladder: { type: "string", default: "default", description: "Name of the ladder." }, profile: { type: "string", enum: ["standard", "quick", "short"], default: "standard", description: "Segment duration and latency." } } } },
  { name: "restream", summary: "Sends the stream on to another RTMP server.", schema: { type: "object", required: ["target"], properties: { target: { type: "string", description: "Where to send it: rtmp:// or rtmps://." }, format: { type: "string", enum: ["flv"], default: "flv", description: "Container." } } } },
];

const signedIn = (request) => has("--open") || /weir_session=dev/.test(request.headers.cookie ?? "");
const body = async (request) => {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text ? JSON.parse(text) : {};
};

let origins = [];
const media = has("--video") ? mkdtempSync(join(tmpdir(), "weir-mock-")) : "";
let ffmpeg;

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, "http://localhost");
  const send = (status, type, data, headers = {}) => response.writeHead(status, { "Content-Type": type, ...headers }).end(data);
  const json = (data, status = 200, headers = {}) => send(status, "application/json", JSON.stringify(data), headers);
  const problem = (status, code, detail, errors) => send(status, "application/problem+json", JSON.stringify({ status, code, title: code, detail, errors }));
  const policy = { "Content-Security-Policy": `default-src 'self'; media-src blob:; worker-src blob:; style-src 'self'; connect-src 'self' ${origins.join(" ")}; frame-ancestors 'none'; base-uri 'none'` };
  const file = (name) => send(200, types[extname(name)], readFileSync(join(dist, name)), policy);

  if (pathname === "/") return file("index.html");
  if (pathname.startsWith("/watch/")) return file("watch.html");
  if (/^\/assets\/[\w.]+$/.test(pathname)) return file(pathname.slice(8));
  if (pathname.startsWith("/api/v1/public/streams/")) {
    const name = decodeURIComponent(pathname.slice(23));
    const known = state().streams.find((s) => s.name === name);
    return known ? json({ name, title: known.title, live: known.phase === "live" }) : problem(404, "not_found", "no such stream");
  }
  if (media && /^\/hls\/[\w-]+\/[\w.-]+\.m3u8$/.test(pathname)) {
    try {
      let segment = 0;
      const text = readFileSync(join(media, pathname.split("/").pop()), "utf8").replace(/^(\S+)(\d)\.ts$/gm, (name, _, digit) => (segment++, `${origins[Number(digit) % 2]}/${name}`));
      return send(200, types[".m3u8"], text, { "Cache-Control": "no-store" });
    } catch {
      return problem(404, "not_found", "no playlist yet");
    }
  }
  if (pathname === "/api/v1/session" && request.method === "POST")
    return (await body(request)).token === "dev" ? response.writeHead(204, { "Set-Cookie": "weir_session=dev; HttpOnly; SameSite=Strict; Path=/" }).end() : problem(401, "unauthorised", "this token is not known");
  if (!pathname.startsWith("/api/")) return problem(404, "not_found", "nothing here");
  if (!signedIn(request)) return problem(401, "unauthorised", "sign in first");
  if (request.method !== "GET" && request.headers["x-weir-request"] !== "1") return problem(403, "forbidden", "X-Weir-Request is missing");
  if (pathname === "/api/v1/session") return response.writeHead(204, { "Set-Cookie": "weir_session=; Max-Age=0; Path=/" }).end();
  if (pathname === "/api/v1/live") {
    response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
    const say = (name, data, id) => response.write(`${id ? `id: ${id}\n` : ""}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
    const last = Number(request.headers["last-event-id"] ?? 0);
    say("state", state());
    for (const one of events) if (one.number > last) say("event", one, one.number);
    let count = 0;
    const timer = setInterval(() => {
      say("state", state());
      if (++count % 5 === 0) {
        const one = event(events.length + 1, 0);
        events.push(one);
        say("event", one, one.number);
      }
    }, 1000);
    return request.on("close", () => clearInterval(timer));
  }
  if (pathname === "/api/v1/task-types") return json(taskTypes);
  if (pathname.endsWith("/key")) return json({ key: "k3y-9f2c&x" });
  const data = await body(request);
  if (pathname === "/api/v1/streams" && /[^\w.-]/.test(data.name)) return problem(422, "invalid", "the stream is not valid", [{ pointer: "/name", detail: `“${data.name}”: only letters, digits, '-', '_' and '.' are allowed.` }]);
  const wrong = (data.needs ?? []).findIndex((need) => need.startsWith("="));
  if (wrong >= 0) return problem(422, "invalid", "the task is not valid", [{ pointer: `/needs/${wrong}`, detail: `“${data.needs[wrong]}” is not a label as KEY or KEY=VALUE` }]);
  if (pathname.endsWith("/tasks") && data.type === "restream" && !data.options?.target)
    return problem(422, "invalid", "the task is not valid", [{ pointer: "/options/target", detail: "is required" }, { pointer: "/options/x", detail: "unknown option" }]);
  return json({});
});

server.listen(Number(argument("--port", "8787")), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/  token: dev`));

if (media) {
  origins = await Promise.all([0, 1].map(() => new Promise((done) => {
    const one = createServer((request, response) => {
      try {
        const data = readFileSync(join(media, request.url.split("/").pop()));
        response.writeHead(200, { "Content-Type": types[".ts"], "Access-Control-Allow-Origin": "*" }).end(data);
      } catch {
        response.writeHead(404, { "Access-Control-Allow-Origin": "*" }).end();
      }
    }).listen(0, "127.0.0.1", () => done(`http://127.0.0.1:${one.address().port}`));
  })));
  const size = (name, width, rate) => ["-map", "0:v", "-map", "1:a", `-s:v:${name}`, width, `-b:v:${name}`, rate];
  ffmpeg = spawn("ffmpeg", ["-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=s=640x360:r=25", "-re", "-f", "lavfi", "-i", "sine=f=330", ...size(0, "640x360", "600k"), ...size(1, "320x180", "200k"),
    "-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-c:a", "aac", "-f", "hls", "-hls_time", "2", "-hls_list_size", "10", "-hls_flags", "delete_segments+independent_segments+program_date_time",
    "-master_pl_name", "index.m3u8", "-var_stream_map", "v:0,a:0 v:1,a:1", "-hls_segment_filename", join(media, "v%v_%d.ts"), join(media, "v%v.m3u8")], { stdio: "inherit" });
}
for (const signal of ["SIGINT", "SIGTERM"])
  process.on(signal, () => {
    ffmpeg?.kill();
    if (media) rmSync(media, { recursive: true, force: true });
    process.exit(0);
  });
