// Server-sent events over fetch. EventSource would do less: it hides the status (401 must show the sign-in form), gives up for good on a
// 5xx, and does not notice a connection that went silent.

export interface SseMessage {
  event: string;
  data: string;
  /** Empty when the message carried none. */
  id: string;
}

/** Cuts text that arrives in arbitrary pieces into messages; comments and unknown fields are skipped as the HTML standard says. */
export class SseParser {
  private rest = "";
  private event = "";
  private data: string[] = [];
  private id = "";

  push(chunk: string): SseMessage[] {
    const out: SseMessage[] = [];
    this.rest += chunk;
    for (;;) {
      const end = /\r\n|\n|\r(?!$)/.exec(this.rest);
      if (!end) return out;
      const line = this.rest.slice(0, end.index);
      this.rest = this.rest.slice(end.index + end[0].length);
      this.take(line, out);
    }
  }

  private take(line: string, out: SseMessage[]): void {
    if (line === "") {
      if (this.data.length) out.push({ event: this.event || "message", data: this.data.join("\n"), id: this.id });
      this.event = "";
      this.data = [];
      this.id = "";
      return;
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.event = value;
    else if (name === "data") this.data.push(value);
    else if (name === "id" && !value.includes("\0")) this.id = value;
  }
}

/** Milliseconds before attempt n (0, 1, …): 1 s doubling to 15 s, with ±20 % so that many pages do not come back at once. */
export function backoff(attempt: number, random: () => number = Math.random): number {
  return Math.round(Math.min(1000 * 2 ** Math.min(attempt, 10), 15_000) * (0.8 + 0.4 * random()));
}

export interface FollowOptions {
  url: string;
  onOpen(): void;
  onMessage(message: SseMessage): void;
  /** The connection ended; the next attempt comes at this time (ms since the epoch). */
  onLost(retryAt: number): void;
  onUnauthorised(): void;
}

/** The server says something at least every 15 s; twice that and a bit of silence means the connection is dead. */
const silence = 35_000;

/** Follows a stream of events until stopped or refused with 401. Returns the stop function. */
export function follow(options: FollowOptions): () => void {
  let stopped = false;
  let lastId = "";
  let attempt = 0;
  let control = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;

  async function connect(): Promise<void> {
    control = new AbortController();
    let watchdog = setTimeout(() => control.abort(), silence);
    try {
      const headers: Record<string, string> = { Accept: "text/event-stream" };
      if (lastId) headers["Last-Event-ID"] = lastId;
      const answer = await fetch(options.url, { headers, signal: control.signal, cache: "no-store", credentials: "same-origin" });
      if (answer.status === 401) {
        stopped = true;
        options.onUnauthorised();
        return;
      }
      if (!answer.ok || !answer.body) throw new Error(`status ${answer.status}`);
      options.onOpen();
      const parser = new SseParser();
      const decoder = new TextDecoder();
      const reader = answer.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        clearTimeout(watchdog);
        watchdog = setTimeout(() => control.abort(), silence);
        for (const message of parser.push(decoder.decode(value, { stream: true }))) {
          attempt = 0;
          if (message.id) lastId = message.id;
          options.onMessage(message);
        }
      }
    } catch (error) {
      if (!stopped) console.info("live connection:", error);
    } finally {
      clearTimeout(watchdog);
    }
    if (stopped) return;
    const wait = backoff(attempt++);
    options.onLost(Date.now() + wait);
    timer = setTimeout(() => void connect(), wait);
  }

  void connect();
  return () => {
    stopped = true;
    clearTimeout(timer);
    control.abort();
  };
}
