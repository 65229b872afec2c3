// What the player page counts and how it waits. Pure, so that it tests without a browser.
import type { LoadPolicy } from "hls.js";

export type PlayerState = "loading" | "waiting" | "full" | "unknown" | "barred" | "blocked" | "playing" | "buffering" | "paused" | "ended" | "error" | "unsupported";

/** Counts the times a running picture stood still: the element's `waiting` and the library's stall error are the same incident. */
export class StallMeter {
  count = 0;
  private running = false;
  private inside = false;

  /** The picture stands still; a seek and the time before the first picture do not count. */
  stood(seeking: boolean): void {
    if (!this.running || this.inside || seeking) return;
    this.inside = true;
    ++this.count;
  }
  moves(): void {
    this.running = true;
    this.inside = false;
  }
  /** The source changes: what follows until the next picture is start-up. */
  reset(): void {
    this.running = this.inside = false;
  }
}

/** What the page tells of a viewing since its last word, for POST /beacon/{stream}. */
export interface Beacon {
  /** From asking for the stream to its first picture; 0: told before, or there is none yet. */
  join_ms: number;
  stalls: number;
  stalled_ms: number;
  played_ms: number;
  edge: string;
}

/** Adds up how a viewing goes. Times are milliseconds of one steady clock; a laptop that slept says no more than the server believes. */
export class Viewing {
  private askedAt: number | null = null;
  private phase: "off" | "running" | "still" = "off";
  private since = 0;
  private join = 0;
  private stalls = 0;
  private lasted = { running: 0, still: 0 };

  asks(now: number): void {
    this.askedAt = now;
  }
  moves(now: number): void {
    if (this.askedAt !== null) this.join = Math.max(1, now - this.askedAt);
    this.askedAt = null;
    this.enter("running", now);
  }
  /** As StallMeter.stood(). */
  stood(seeking: boolean, now: number): void {
    if (this.phase !== "running" || seeking) return;
    ++this.stalls;
    this.enter("still", now);
  }
  /** Paused by a person, over, or loaded anew. */
  stops(now: number): void {
    this.askedAt = null;
    this.enter("off", now);
  }
  /** What happened since the last call; null: nothing. */
  take(now: number, edge: string): Beacon | null {
    this.enter(this.phase, now);
    const within = (value: number, most: number): number => Math.min(Math.round(value), most);
    const word = { join_ms: within(this.join, 300_000), stalls: within(this.stalls, 100), stalled_ms: within(this.lasted.still, 120_000), played_ms: within(this.lasted.running, 120_000), edge };
    this.join = this.stalls = 0;
    this.lasted = { running: 0, still: 0 };
    return word.join_ms || word.stalls || word.stalled_ms || word.played_ms ? word : null;
  }
  private enter(next: "off" | "running" | "still", now: number): void {
    if (this.phase !== "off") this.lasted[this.phase] += now - this.since;
    this.phase = next;
    this.since = now;
  }
}

/**
 * Whether a picture that ran dry may run again. A live list gains one segment a target duration, so a player that goes on with its
 * first new segment runs dry with each one; holding for a second segment makes that one interruption instead of many. Of a list with
 * parts the same holds for parts: nobody there has more than a few of them ahead.
 */
export class Refill {
  /** The picture is held back until the buffer has grown. */
  holding = false;
  private dry = false;

  ranDry(): void {
    this.dry = true;
  }
  /** The picture could run: true when it has to be held for now. `ahead` and `step`, that the list grows by, in seconds. */
  holds(ahead: number, step: number, live: boolean): boolean {
    this.holding = this.dry && live && ahead < 1.5 * step;
    if (!this.holding) this.dry = false;
    return this.holding;
  }
  /** A person wants to see something now, or the source changes. */
  reset(): void {
    this.holding = this.dry = false;
  }
}

/** Milliseconds before poll n (0, 1, …): 2 s growing to 10 s, ±20 % so that an audience does not knock at one instant. */
export function pollDelay(attempt: number, random: () => number = Math.random): number {
  return Math.round(Math.min(2000 * 1.5 ** Math.min(attempt, 20), 10_000) * (0.8 + 0.4 * random()));
}

/**
 * Why the playlist was refused: whether all edges are full, and the milliseconds after which to ask again. Never earlier than the answer's
 * Retry-After says, and up to 40 % later, so that those who were turned away do not come back at one instant.
 */
export function refusal(status: number, header: (name: string) => string | null, random: () => number = Math.random): { full: boolean; wait: number } {
  const seconds = Number(header("Retry-After") ?? "");
  const told = seconds > 0 && seconds <= 600 ? seconds : 5; // a date, or nonsense, is nothing that Weir says
  return { full: status === 503 && header("Weir-Reason") === "full", wait: Math.round(told * 1000 * (1 + 0.4 * random())) };
}

/**
 * Whether a player that failed loads its page anew rather than only the stream. The page's policy names the edges that were there when it
 * was loaded; what came later stays barred until the next load. `last` is when that was done before, both in milliseconds: at most once a minute.
 */
export function renewsPage(barred: boolean, now: number, last: number): boolean {
  return barred && now - last >= 60_000;
}

interface Answer {
  code?: number;
}

/** Milliseconds after which an edge that says nothing counts as gone: before the first byte of an answer, and between two of them. */
export const silenceLimit = 3000;

/** Whether an answer still comes in. hls.js knows only a limit for all of it, which an edge that died in the middle would use up. */
export class Flow {
  private loaded = -1;

  constructor(private since: number) {}

  /** `loaded`: bytes so far, `now`: milliseconds of the clock of `since`. An answer that has not begun is left to the limit for its first byte. */
  stopped(loaded: number, now: number): boolean {
    if (loaded !== this.loaded) {
      this.loaded = loaded;
      this.since = now;
    }
    return loaded > 0 && now - this.since >= silenceLimit;
  }
}

/**
 * The pathways in the order to take after the edge of `silent` said nothing: that one last. null: there is no other. hls.js itself would ask
 * the same edge once more, and then for each other rung, at a time-out each.
 */
export function pathwaysAfter(silent: string, pathways: readonly string[]): string[] | null {
  const others = pathways.filter((p) => p !== silent);
  return others.length === 0 || others.length === pathways.length ? null : [...others, silent];
}

/**
 * How playlists and segments are asked for, for a target duration in seconds: a silent edge costs 3 s, not 10, and a closed port is
 * tried again because its nginx is back at the same address within a second (hls.js itself takes status 0 for final).
 */
export function loadPolicy(targetDuration: number): LoadPolicy {
  return {
    default: {
      maxTimeToFirstByteMs: silenceLimit,
      maxLoadTimeMs: 2000 * targetDuration,
      timeoutRetry: { maxNumRetry: 1, retryDelayMs: 0, maxRetryDelayMs: 0 },
      errorRetry: {
        maxNumRetry: 2, retryDelayMs: 500, maxRetryDelayMs: 2000, backoff: "exponential",
        shouldRetry: (config, done, isTimeout, answer: Answer | undefined, stock) =>
          stock || (config !== null && config !== undefined && !isTimeout && done < config.maxNumRetry && !answer?.code),
      },
    },
  };
}

/** The same for a playlist that is answered only when it has something new: up to a target duration later, and then some. */
export function reloadPolicy(targetDuration: number, blocking: boolean): LoadPolicy {
  const policy = loadPolicy(targetDuration);
  return blocking ? { default: { ...policy.default, maxTimeToFirstByteMs: Math.max(silenceLimit, 1500 * targetDuration) } } : policy;
}

/** The same for the first playlist: its 503 says how long to wait, and the page does; three more requests within two seconds would only add to the crowd. */
export function manifestPolicy(targetDuration: number): LoadPolicy {
  const { default: policy } = loadPolicy(targetDuration);
  const retry = policy.errorRetry;
  if (!retry) return { default: policy };
  const { shouldRetry } = retry;
  return {
    default: {
      ...policy,
      errorRetry: { ...retry, shouldRetry: (config, done, isTimeout, answer: Answer | undefined, stock) => answer?.code !== 503 && (shouldRetry?.(config, done, isTimeout, answer as never, stock) ?? stock) },
    },
  };
}

/** How fast a picture runs that catches up: nobody hears it. */
export const catchingUp = 1.05;

/**
 * How fast the picture runs to catch up with a low-latency stream; any other stays where a stall has left it. `behind` its place and buffered `ahead`, in
 * seconds like the part target. What `runs` faster already does so until it is there: whoever stops as soon as it need not begin stays behind for good.
 * The library does that only with more than a second buffered, which is more than such a viewer should have.
 */
export function catchUpRate(partTarget: number, behind: number, ahead: number, runs: boolean): number {
  return partTarget > 0 && behind > (runs ? 0 : 0.1) && ahead > 1.5 * partTarget ? catchingUp : 1;
}

/**
 * Whether the library asks for nothing although a low-latency list has more than is `loaded`, both in seconds of the picture's clock, where the picture has stood
 * `still` for so many milliseconds. It does that where it changes its rung at the last part of a segment: it takes that segment for the next thing to load,
 * and has it.
 */
export function asksForNothing(partTarget: number, listed: number, loaded: number, loads: number, still: number): boolean {
  return partTarget > 0 && loads === 0 && still >= 2000 * partTarget && listed - loaded > partTarget;
}

/** How many target durations behind a low-latency stream's end the picture jumps forward to it; it would take minutes to catch up. Elsewhere nobody misses anything. */
export function mostTargetsBehind(partTarget: number): number {
  return partTarget > 0 ? 2 : Infinity;
}

/** Where the playlist is: behind the token in the page's fragment ("#token=…", which browsers send to nobody), if any. What has not its form is none. */
export function sourceOf(name: string, fragment: string): string {
  const token = new URLSearchParams(fragment.replace(/^#/, "")).get("token") ?? "";
  return `${/^[0-9a-f.]+$/.test(token) ? `/t/${token}` : ""}/hls/${encodeURIComponent(name)}/index.m3u8`;
}

/** "/watch/main%20hall" → "main hall"; empty for any other path. */
export function streamOfPath(path: string): string {
  const match = /^\/watch\/([^/]+)\/?$/.exec(path);
  if (!match?.[1]) return "";
  try {
    return decodeURIComponent(match[1]);
  } catch {
    return ""; // "%zz" names no stream
  }
}
