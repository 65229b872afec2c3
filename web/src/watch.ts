// The player page: waits until the stream is live, plays it with hls.js, starts again by itself, and shows how it goes.
import type HlsType from "hls.js";
import type { ErrorData, FragmentLoaderContext, HlsConfig, Loader, LoaderCallbacks, LoaderConfiguration } from "hls.js";
import { ApiError, publicStream } from "./api";
import { bitRate, duration, number } from "./format";
import { pickLanguage, words } from "./i18n";
import { asksForNothing, catchingUp, catchUpRate, Flow, loadPolicy, manifestPolicy, mostTargetsBehind, pathwaysAfter, pollDelay, Refill, refusal, reloadPolicy, renewsPage, sourceOf, StallMeter, streamOfPath, Viewing, type PlayerState } from "./playback";
import { h, patch, type Child } from "./render/dom";
import { button, chip, fact } from "./render/parts";

declare const Hls: typeof HlsType; // its own script, see build.mjs

const { lang, t } = words(pickLanguage(localStorage.getItem("weir-language"), navigator.languages));
const name = streamOfPath(location.pathname);
const source = sourceOf(name, location.hash);
const video = document.getElementById("video") as HTMLVideoElement;
const overlay = document.getElementById("overlay") as HTMLElement;
const controls = document.getElementById("controls") as HTMLElement;
const stage = video.parentElement as HTMLElement;

let state: PlayerState = "loading";
let title = name;
let reason = "";
let hls: HlsType | null = null;
let attempt = 0;
let retryAt = 0;
let timer: ReturnType<typeof setTimeout> | undefined;
let endedOnce = false;
let recoveredAt = 0;
let edge = "";
let edgeBase = "";
let pathway = ""; // on which the last segment was asked for
let tells = true; // how it fares; until the server wants to hear nothing
let barred = false; // an edge that the page's policy does not name
const edges: Record<string, number> = {};
const stalls = new StallMeter();
const viewing = new Viewing();
const refill = new Refill();
const errors = { fatal: 0, recovered: 0 };

/** For tests and for people with a console. */
const weirPlayer = {
  get state() { return state; },
  get reason() { return reason; },
  get stalls() { return stalls.count; },
  get fatalErrors() { return errors.fatal; },
  get recoveredErrors() { return errors.recovered; },
  get currentTime() { return video.currentTime; },
  get latency() { return hls?.latency ?? 0; },
  get targetLatency() { return hls?.targetLatency ?? 0; },
  get droppedFrames() { return video.getVideoPlaybackQuality?.().droppedVideoFrames ?? 0; },
  get level() { return hls ? hls.currentLevel : -1; },
  edges,
};
declare global {
  interface Window {
    weirPlayer: typeof weirPlayer;
  }
}
window.weirPlayer = weirPlayer;

function become(next: PlayerState, why = ""): void {
  state = next;
  reason = why;
  draw();
}

function namePage(): void {
  document.title = title;
  video.setAttribute("aria-label", title);
}

function unload(): void {
  hls?.destroy();
  hls = null;
  video.removeAttribute("src");
  viewing.stops(performance.now());
  stalls.reset();
  refill.reset();
}

/** Loads the page anew where only that can help. */
function renewed(): boolean {
  const key = "weir-page-renewed";
  if (!renewsPage(barred, Date.now(), Number(sessionStorage.getItem(key) ?? 0))) return false;
  sessionStorage.setItem(key, String(Date.now()));
  location.reload();
  return true;
}

/** Looks again later: what is shown meanwhile is `next`. */
function later(next: PlayerState, why = "", wait = pollDelay(attempt++)): void {
  unload();
  if (next === "error" && renewed()) return;
  clearTimeout(timer);
  retryAt = Date.now() + wait;
  timer = setTimeout(() => void look(), wait);
  become(next, why);
}

/** Asks whether the stream is live, and plays it if so. When the question itself fails, the playlist decides. */
async function look(): Promise<void> {
  try {
    const known = await publicStream(name);
    title = known.title || known.name;
    namePage();
    if (!known.live) return later(endedOnce ? "ended" : "waiting");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.problem.status === 404) return later("unknown");
  }
  load();
}

function load(): void {
  viewing.asks(performance.now());
  // Chromium answers "maybe" to native HLS and then plays it badly: the library comes first wherever it can run.
  if (Hls.isSupported()) return loadWithLibrary();
  if (!video.canPlayType("application/vnd.apple.mpegurl")) return become("unsupported", t("player_unsupported"));
  video.src = source;
  play();
}

/** Segments and parts that are under way. */
const loads = new Set<object>();

/** Loads segments; one whose edge falls silent in the middle has timed out. The library destroys a loader whatever its end was. */
function flowLoader(): new (config: HlsConfig) => Loader<FragmentLoaderContext> {
  return class extends (Hls.DefaultConfig.loader as new (config: HlsConfig) => Loader<FragmentLoaderContext>) {
    private watching: ReturnType<typeof setInterval> | undefined;

    override load(context: FragmentLoaderContext, config: LoaderConfiguration, callbacks: LoaderCallbacks<FragmentLoaderContext>): void {
      const flow = new Flow(performance.now());
      this.watching = setInterval(() => {
        if (flow.stopped(this.stats.loaded, performance.now())) callbacks.onTimeout(this.stats, context, null);
      }, 250);
      loads.add(this);
      super.load(context, config, callbacks);
    }
    override destroy(): void {
      clearInterval(this.watching);
      loads.delete(this);
      super.destroy();
    }
  };
}

function loadWithLibrary(): void {
  const policy = loadPolicy(6);
  loads.clear();
  const steering = forgivingSteering();
  const player = new Hls({
    ...(steering && { contentSteeringController: steering }),
    manifestLoadPolicy: manifestPolicy(6), playlistLoadPolicy: policy, fragLoadPolicy: policy,
    fLoader: flowLoader(),
    lowLatencyMode: true, // where the playlist has parts
    capLevelToPlayerSize: true, // a phone does not fetch what it cannot show
    backBufferLength: 30,
  });
  hls = player;
  const { Events } = Hls;
  player.on(Events.MANIFEST_PARSED, play);
  player.on(Events.LEVEL_LOADED, (_, { details }) => {
    if (!details.live && endedOnce) return later("ended"); // what we saw end is still there; nothing new began
    player.config.fragLoadPolicy = loadPolicy(details.targetduration);
    player.config.playlistLoadPolicy = reloadPolicy(details.targetduration, details.canBlockReload);
    player.config.liveMaxLatencyDurationCount = mostTargetsBehind(details.partTarget);
  });
  player.on(Events.FRAG_LOADING, () => { pathway = pathwayOf(player); });
  player.on(Events.FRAG_LOADED, (_, { frag, part }) => {
    const { host, origin } = new URL(part?.url ?? frag.url); // a segment that is still made has no address
    edge = host;
    edgeBase = origin;
    edges[edge] = (edges[edge] ?? 0) + 1;
  });
  player.on(Events.ERROR, (_, data) => onError(player, data));
  player.loadSource(source);
  player.attachMedia(video);
}

/**
 * The library shuns a pathway for five minutes after an error, even when the other one fails meanwhile and nothing is left. Whenever the page
 * gives an order of its own that ends.
 */
function forgivingSteering(): NonNullable<HlsConfig["contentSteeringController"]> | undefined {
  const { contentSteeringController: Steering } = Hls.DefaultConfig;
  return Steering && class extends Steering {
    override get pathwayPriority(): string[] | null { return super.pathwayPriority; }
    override set pathwayPriority(order: string[]) {
      (this as unknown as { penalizedPathways: Record<string, number> }).penalizedPathways = {};
      super.pathwayPriority = order;
    }
  };
}

/** Its edge said nothing, or failed when the other one had: the segment is asked for on the other pathway, unless the library has seen to that. */
function leaveEdge(player: HlsType): void {
  const order = pathwaysAfter(pathway, player.pathways);
  if (order && pathwayOf(player) === pathway) player.pathwayPriority = order;
}

/** All levels that the library has are of the pathway that it is on. */
const pathwayOf = (player: HlsType): string => player.levels[0]?.pathwayId ?? "";

/** The link has expired, or never was good: to ask again would change nothing. */
function barredOut(): void {
  unload();
  clearTimeout(timer);
  retryAt = 0;
  become("barred");
}

function onError(player: HlsType, data: ErrorData): void {
  if (data.details === Hls.ErrorDetails.BUFFER_STALLED_ERROR) stood(video.seeking);
  if (!data.fatal) {
    ++errors.recovered;
    if (data.details === Hls.ErrorDetails.FRAG_LOAD_TIMEOUT) leaveEdge(player);
    return;
  }
  const status = data.response?.code ?? 0;
  const answer = data.networkDetails as Partial<XMLHttpRequest> | null | undefined; // whatever its loader fetched with
  const refused = refusal(status, (header) => answer?.getResponseHeader?.(header) ?? null);
  if (data.details === Hls.ErrorDetails.MANIFEST_LOAD_ERROR && refused.full) return later("full", "", refused.wait);
  if (data.details === Hls.ErrorDetails.MANIFEST_LOAD_ERROR && (status === 404 || status === 503)) return later(endedOnce ? "ended" : "waiting"); // live, first segment to come
  ++errors.fatal;
  if (status === 403) return barredOut();
  if (data.type === Hls.ErrorTypes.MEDIA_ERROR && Date.now() - recoveredAt > 10_000) {
    recoveredAt = Date.now();
    player.recoverMediaError();
    return;
  }
  if (data.type === Hls.ErrorTypes.NETWORK_ERROR && buffered() > 1) {
    // What is loaded still plays: ask again beneath it rather than start anew.
    if (data.frag) leaveEdge(player);
    clearTimeout(timer);
    timer = setTimeout(() => hls === player && player.startLoad(), 1000);
    return;
  }
  stood(false); // the picture goes away
  later("error", `${data.details}${status ? ` (HTTP ${status})` : ""}${data.error?.message ? `: ${data.error.message}` : ""}`);
}

/** The element never tells why it could not load its playlist: asks for that once more. */
async function explain(message: string): Promise<void> {
  try {
    const { status, headers } = await fetch(source, { cache: "no-store" });
    const refused = refusal(status, (header) => headers.get(header));
    if (refused.full) return later("full", "", refused.wait);
    if (status === 403) return barredOut();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    message ||= error.message; // not even the server answers
  }
  ++errors.fatal;
  later("error", message);
}

/** Seconds behind the end of what is loaded where the library takes the next segment for what comes next. */
const justBehind = 0.05;

/** Milliseconds without a new picture after which the source counts as over (its list has ended), or is loaded anew. */
const patience = { ended: 3000, live: 15_000 };
let seen = { position: 0, at: Date.now() };

/**
 * Nobody tells when a picture stands still for good: a list may end with segments that its transcoder never delivered, and then the
 * element waits for them. Looks twice a second.
 */
function watchPicture(): void {
  if (refill.holding && !holds()) play();
  if (!hls || state !== "buffering" || video.currentTime !== seen.position) {
    seen = { position: video.currentTime, at: Date.now() };
    return;
  }
  const still = Date.now() - seen.at;
  const details = hls.levels[hls.loadLevel]?.details;
  const loaded = video.currentTime + buffered();
  if (details?.live && asksForNothing(details.partTarget, details.edge, loaded, loads.size, still)) video.currentTime = loaded + justBehind;
  const over = hls.levels[hls.currentLevel]?.details?.live === false;
  if (still < (over ? patience.ended : patience.live)) return;
  if (over) {
    endedOnce = true;
    attempt = 0;
  }
  later(over ? "ended" : "error");
}

/** Seconds that can be played without loading more. */
function buffered(): number {
  const { buffered: ranges, currentTime } = video;
  for (let n = 0; n < ranges.length; ++n)
    if (ranges.start(n) <= currentTime + 0.1 && currentTime < ranges.end(n)) return ranges.end(n) - currentTime;
  return 0;
}

/** The picture of a low-latency stream stays as near to live as its playlist says. */
function keepUp(): void {
  const partTarget = hls?.levels[hls.currentLevel]?.details?.partTarget ?? 0;
  const rate = catchUpRate(partTarget, hls ? hls.latency - (hls.targetLatency ?? Infinity) : 0, buffered(), video.playbackRate === catchingUp);
  if (video.playbackRate !== rate && (video.playbackRate === 1 || video.playbackRate === catchingUp)) video.playbackRate = rate; // another one is the viewer's own
}

/** Whether the picture, which ran dry, has to wait for more segments. */
function holds(): boolean {
  const details = hls?.levels[hls.currentLevel]?.details;
  return refill.holds(buffered(), details?.partTarget || details?.targetduration || 0, details?.live === true);
}

/** The picture moves. The library jumps over holes only while the element is not paused, so it may hold from here on, not earlier. */
function moves(): void {
  if (holds()) return video.pause();
  stalls.moves();
  viewing.moves(performance.now());
  become("playing");
}

function stood(seeking: boolean): void {
  stalls.stood(seeking);
  viewing.stood(seeking, performance.now());
}

/** Tells how it fared since the last word. They are numbers for the organisers: what gets lost is not told again. */
function report(leaving: boolean): void {
  const word = tells ? viewing.take(performance.now(), edgeBase) : null;
  if (!word) return;
  const address = `/beacon/${encodeURIComponent(name)}`;
  const body = JSON.stringify(word);
  if (leaving) {
    navigator.sendBeacon(address, body);
    return;
  }
  fetch(address, { method: "POST", body, keepalive: true, credentials: "omit" }).then(
    ({ status }) => { if (status === 403) tells = false; },
    (error: unknown) => console.info("beacon:", error));
}

function play(): void {
  video.play().catch((error: unknown) => {
    if (error instanceof DOMException && error.name === "NotAllowedError") become("blocked");
    else console.info("play:", error); // taken back because the source changes: the next one plays itself
  });
}

function unmute(): void {
  video.muted = false;
  play();
  draw();
}

/** Paused by a person: a picture that is held back counts as running. */
const stopped = (): boolean => video.paused && !refill.holding;

/** What the button and a click on the picture do. */
function toggle(): void {
  if (stopped()) return play();
  refill.reset();
  video.pause();
  become("paused");
}

function toLive(): void {
  const live = hls?.liveSyncPosition;
  if (live) video.currentTime = live;
  play();
}

document.addEventListener("securitypolicyviolation", (event) => {
  if (event.effectiveDirective === "connect-src") barred = true;
});
video.addEventListener("playing", () => {
  attempt = 0;
  endedOnce = false;
  moves();
});
video.addEventListener("timeupdate", () => {
  keepUp();
  if (state === "buffering" && !video.paused && video.readyState > 2) moves();
});
video.addEventListener("waiting", () => {
  stood(video.seeking);
  if (!video.seeking) refill.ranDry();
  if (state === "playing") become("buffering");
});
video.addEventListener("pause", () => {
  if (video.ended || refill.holding || (state !== "playing" && state !== "buffering")) return;
  viewing.stops(performance.now());
  become("paused");
});
video.addEventListener("ended", () => {
  endedOnce = true;
  attempt = 0;
  later("ended");
});
video.addEventListener("error", () => {
  if (hls || !video.getAttribute("src")) return; // the library reports its own
  void explain(video.error?.message ?? "");
});
video.addEventListener("volumechange", () => draw());
video.addEventListener("click", toggle);

const speaker = "M2 5.5h3l4-3.5v12l-4-3.5H2z";
const icons = {
  play: "M4 2.5v11l9.5-5.5z",
  pause: "M3.5 2.5h3v11h-3zM9.5 2.5h3v11h-3z",
  sound: `${speaker}M11 5a4 4 0 0 1 0 6z`,
  mute: `${speaker}M10.6 6.2l1-1 1.4 1.4 1.4-1.4 1 1L14 7.6 15.4 9l-1 1L13 8.6 11.6 10l-1-1L12 7.6z`,
  full: "M2 2h5v2H4v3H2zM9 2h5v5h-2V4H9zM2 9h2v3h3v2H2zM12 9h2v5H9v-2h3z",
};
const icon = (which: keyof typeof icons): Child => h("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, h("path", { d: icons[which] }));
const iconButton = (which: keyof typeof icons, label: string, onclick: () => void): Child => h("button", { type: "button", onclick, "aria-label": label, title: label }, icon(which));
const dots = (): Child => h("div", { class: "dots", "aria-hidden": "true" }, h("span", null), h("span", null), h("span", null));

const announced = (text: string): Child => h("div", { role: "status" }, h("h2", null, text));

function veil(head: string, detail: string, waiting: boolean): Child {
  const left = retryAt - Date.now();
  return h("div", { class: "veil", key: "veil" }, waiting && dots(), announced(head), detail && h("p", null, detail),
    waiting && left > 0 && h("p", { class: "quiet number" }, t("player_retry_in", { wait: duration(left + 999, lang) })));
}

function overlayView(): Child {
  switch (state) {
    case "loading": return h("div", { class: "veil", key: "veil" }, dots(), announced(t("player_loading")));
    case "buffering": return h("div", { key: "buffering", role: "status", "aria-label": t("player_loading") }, dots());
    case "waiting": return veil(t("player_waiting"), t("player_waiting_detail"), true);
    case "full": return veil(t("player_full"), t("player_full_detail"), true);
    case "barred": return veil(t("player_barred"), t("player_barred_detail"), false);
    case "unknown": return veil(t("player_unknown"), t("player_unknown_detail"), true);
    case "ended": return veil(t("player_ended"), t("player_ended_detail"), false);
    case "error": return veil(t("player_error"), reason, true);
    case "unsupported": return veil(t("player_error"), reason, false);
    case "blocked":
    case "paused": return h("div", { key: "play" }, h("button", { type: "button", class: "big", onclick: play }, icon("play"), t("player_play")));
    case "playing": return video.muted && h("div", { class: "corner", key: "unmute" }, h("button", { type: "button", class: "big", onclick: unmute }, icon("mute"), t("player_unmute")));
  }
}

function qualityMenu(): Child {
  const player = hls;
  if (!player || player.levels.length < 2) return null;
  const label = (index: number): string => {
    const level = player.levels[index];
    return level ? `${level.height ? `${level.height}p` : level.name || "?"} · ${bitRate(level.bitrate, lang)}` : "?";
  };
  const short = (index: number): string => label(index).split(" · ")[0] ?? "";
  const auto = player.autoLevelEnabled && player.currentLevel >= 0 ? t("player_auto_now", { now: short(player.currentLevel) }) : t("player_auto");
  const order = player.levels.map((_, index) => index).sort((a, b) => (player.levels[b]?.bitrate ?? 0) - (player.levels[a]?.bitrate ?? 0));
  return h("select", { "aria-label": t("player_quality"), title: t("player_quality"), value: String(player.autoLevelEnabled ? -1 : player.nextLevel),
    onchange: (event: Event) => (player.nextLevel = Number((event.currentTarget as HTMLSelectElement).value)) },
    h("option", { value: "-1", key: "auto" }, auto), order.map((index) => h("option", { value: String(index), key: String(index) }, label(index))));
}

function controlsView(): Child[] {
  const shows = ["playing", "buffering", "paused"].includes(state);
  const latency = weirPlayer.latency;
  const behind = hls !== null && hls.liveSyncPosition !== null && hls.liveSyncPosition - video.currentTime > 10;
  return [
    h("div", { class: "watch-head" },
      h("h1", null, title),
      shows && chip("good", t("player_live")),
      shows && h("div", { class: "buttons" },
        behind && button(t("player_go_live"), toLive, { class: "primary" }),
        iconButton(stopped() ? "play" : "pause", stopped() ? t("player_play") : t("player_pause"), toggle),
        iconButton(video.muted ? "mute" : "sound", video.muted ? t("player_unmute") : t("player_mute"), () => (video.muted = !video.muted)),
        qualityMenu(),
        document.fullscreenEnabled && iconButton("full", t("player_fullscreen"), () => void (document.fullscreenElement ? document.exitFullscreen() : stage.requestFullscreen())))),
    h("div", { class: "watch-foot" },
      shows && h("dl", { class: "facts" },
        latency > 0 && fact(t("player_latency"), `${number(latency, lang, 1)} s`),
        edge && fact(t("player_edge"), edge),
        fact(t("player_stalls"), number(stalls.count, lang))),
      h("a", { href: "/assets/licenses.txt" }, t("player_licenses"))),
  ];
}

function draw(): void {
  const children = (parts: Child[]): ReturnType<typeof h>["children"] => h("div", null, parts).children;
  patch(overlay, children([overlayView()]));
  patch(controls, children(controlsView()));
}

document.documentElement.lang = lang;
namePage();
video.muted = true; // the only way a browser lets it start by itself
setInterval(() => {
  watchPicture();
  draw();
}, 500);
setInterval(() => report(false), 15_000);
addEventListener("pagehide", () => report(true));
draw();
void look();
