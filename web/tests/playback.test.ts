import assert from "node:assert/strict";
import { test } from "node:test";
import { asksForNothing, catchUpRate, Flow, loadPolicy, manifestPolicy, mostTargetsBehind, pathwaysAfter, pollDelay, Refill, refusal, reloadPolicy, renewsPage, sourceOf, StallMeter, streamOfPath, Viewing } from "../src/playback";
import { template } from "../src/render/forms";

test("one incident is one stall, whoever reports it", () => {
  const meter = new StallMeter();
  meter.stood(false); // before the first picture
  assert.equal(meter.count, 0);
  meter.moves();
  meter.stood(true); // a seek
  assert.equal(meter.count, 0);
  meter.stood(false);
  meter.stood(false);
  assert.equal(meter.count, 1);
  meter.moves();
  meter.stood(false);
  assert.equal(meter.count, 2);
  meter.reset();
  meter.stood(false);
  assert.equal(meter.count, 2);
});

test("a viewing tells what happened since its last word", () => {
  const viewing = new Viewing();
  assert.equal(viewing.take(0, ""), null, "nothing happened");
  viewing.asks(1000);
  assert.equal(viewing.take(1500, ""), null, "no picture yet");
  viewing.moves(2250);
  viewing.moves(2300); // each time update may say so
  assert.deepEqual(viewing.take(12_250, "http://e1"), { join_ms: 1250, stalls: 0, stalled_ms: 0, played_ms: 10_000, edge: "http://e1" });
  viewing.stood(true, 13_250); // a seek
  viewing.stood(false, 14_250);
  viewing.stood(false, 14_500);
  assert.deepEqual(viewing.take(15_250, "http://e1"), { join_ms: 0, stalls: 1, stalled_ms: 1000, played_ms: 2000, edge: "http://e1" }, "it stands still");
  viewing.moves(15_750);
  viewing.stops(16_750);
  assert.deepEqual(viewing.take(99_000, "http://e2"), { join_ms: 0, stalls: 0, stalled_ms: 500, played_ms: 1000, edge: "http://e2" }, "a pause is neither");
  assert.equal(viewing.take(200_000, ""), null);
  viewing.stood(false, 201_000);
  assert.equal(viewing.take(202_000, ""), null, "what does not run cannot stand still");
});

test("a viewing says no more than the server believes", () => {
  const viewing = new Viewing();
  viewing.asks(0);
  viewing.moves(1e9);
  for (let n = 0; n < 200; ++n) {
    viewing.stood(false, 1e9 + n * 2e6);
    viewing.moves(1e9 + n * 2e6 + 1e6);
  }
  assert.deepEqual(viewing.take(9e9, ""), { join_ms: 300_000, stalls: 100, stalled_ms: 120_000, played_ms: 120_000, edge: "" });
});

test("a page whose policy bars an edge is loaded anew, once a minute", () => {
  assert.equal(renewsPage(false, 1_000_000, 0), false, "the stream failed for another reason");
  assert.equal(renewsPage(true, 1_000_000, 0), true);
  assert.equal(renewsPage(true, 1_059_999, 1_000_000), false);
  assert.equal(renewsPage(true, 1_060_000, 1_000_000), true);
});

test("a picture that ran dry waits for a second segment", () => {
  const refill = new Refill();
  assert.equal(refill.holds(1, 4, true), false, "nothing ran dry");
  refill.ranDry();
  assert.equal(refill.holds(4, 4, true), true);
  assert.equal(refill.holding, true);
  assert.equal(refill.holds(8, 4, true), false);
  assert.equal(refill.holds(1, 4, true), false, "once is enough");
  refill.ranDry();
  assert.equal(refill.holds(4, 4, true), true);
  assert.equal(refill.holds(4, 4, false), false, "nothing more will come");
  refill.ranDry();
  assert.equal(refill.holds(4, 4, true), true);
  refill.reset();
  assert.equal(refill.holding, false);
  assert.equal(refill.holds(1, 4, true), false);
});

test("the preset is hls.md 8.4 rule 4, and a closed port is tried again", () => {
  const { maxTimeToFirstByteMs, maxLoadTimeMs, timeoutRetry, errorRetry } = loadPolicy(4).default;
  assert.deepEqual([maxTimeToFirstByteMs, maxLoadTimeMs, timeoutRetry?.maxNumRetry, errorRetry?.maxNumRetry], [3000, 8000, 1, 2]);
  const retry = (done: number, code: number, timeout = false, stock = false): boolean | undefined =>
    errorRetry?.shouldRetry?.(errorRetry, done, timeout, { url: "", data: undefined, code } as never, stock);
  assert.equal(retry(0, 0), true);
  assert.equal(retry(2, 0), false);
  assert.equal(retry(0, 404), false);
  assert.equal(retry(0, 503, false, true), true);
});

test("a playlist that is answered when it has something new is waited for, and only that", () => {
  assert.deepEqual(JSON.stringify(reloadPolicy(4, false)), JSON.stringify(loadPolicy(4)));
  const { maxTimeToFirstByteMs, maxLoadTimeMs } = reloadPolicy(4, true).default;
  assert.ok(maxTimeToFirstByteMs > 4000, "a segment may take a target duration");
  assert.ok(maxTimeToFirstByteMs < maxLoadTimeMs && maxLoadTimeMs < 12_000, "and the director gives up after three");
  assert.equal(reloadPolicy(1, true).default.maxTimeToFirstByteMs, 3000);
});

test("a picture that ran dry close to the live edge waits for a second part, not for a second segment", () => {
  const refill = new Refill();
  refill.ranDry();
  assert.equal(refill.holds(0.3, 0.333, true), true);
  assert.equal(refill.holds(0.6, 0.333, true), false);
  assert.equal(catchUpRate(0.333, 0.5, 0.9, false) > 1, true);
  assert.equal(catchUpRate(0.333, 0.05, 0.9, false), 1, "it is near enough");
  assert.equal(catchUpRate(0.333, 0.05, 0.9, true) > 1, true, "but who runs goes all the way");
  assert.equal(catchUpRate(0.333, -0.01, 0.9, true), 1, "it is there");
  assert.equal(catchUpRate(0.333, 0.5, 0.4, true), 1, "it has too little to run faster");
  assert.equal(catchUpRate(0, 5, 9, true), 1, "others stay as far behind as they are");
  assert.equal(mostTargetsBehind(0), Infinity, "and never jump");
  assert.ok(mostTargetsBehind(0.333) < 3, "nearer than players stand that know no parts");
});

test("notices that nothing is asked for although the list has more", () => {
  assert.equal(asksForNothing(0.333, 27.6, 25.99, 0, 1000), true);
  assert.equal(asksForNothing(0.333, 27.6, 25.99, 1, 1000), false, "it is on its way");
  assert.equal(asksForNothing(0.333, 27.6, 25.99, 0, 500), false, "it may be asked for in a moment");
  assert.equal(asksForNothing(0.333, 26.1, 25.99, 0, 9000), false, "there is nothing new");
  assert.equal(asksForNothing(0, 32, 25.99, 0, 9000), false, "others wait for whole segments");
});

test("the first playlist's 503 is the page's to wait for, all else is tried again as ever", () => {
  const { errorRetry, ...rest } = manifestPolicy(4).default;
  const { errorRetry: usual, ...usualRest } = loadPolicy(4).default;
  assert.deepEqual(rest, usualRest);
  assert.equal(errorRetry?.maxNumRetry, usual?.maxNumRetry);
  const retry = (done: number, code: number, stock = false): boolean | undefined =>
    errorRetry?.shouldRetry?.(errorRetry, done, false, { url: "", data: undefined, code } as never, stock);
  assert.equal(retry(0, 503, true), false);
  assert.equal(retry(0, 502, true), true);
  assert.equal(retry(0, 0), true);
  assert.equal(retry(0, 404), false);
});

test("a full farm is told from a stream that is not live, and asked again when it says so, by each at another time", () => {
  const answer = (fields: Record<string, string>) => (name: string): string | null => fields[name] ?? null;
  const full = answer({ "Retry-After": "5", "Weir-Reason": "full" });
  assert.deepEqual(refusal(503, full, () => 0), { full: true, wait: 5000 });
  assert.deepEqual(refusal(503, full, () => 1), { full: true, wait: 7000 });
  assert.deepEqual(refusal(503, answer({ "Retry-After": "30", "Weir-Reason": "full" }), () => 0), { full: true, wait: 30_000 });
  assert.equal(refusal(503, answer({ "Retry-After": "1" })).full, false, "its director has only just started");
  assert.equal(refusal(404, full).full, false);
  assert.equal(refusal(0, answer({})).full, false);
  for (const odd of ["", "Sat, 28 Nov 2026 03:00:00 GMT", "-1", "1e9", "0"])
    assert.equal(refusal(503, answer({ "Retry-After": odd, "Weir-Reason": "full" }), () => 0).wait, 5000, odd);
});

test("polls slow down to 10 s and are spread", () => {
  assert.equal(pollDelay(0, () => 0.5), 2000);
  assert.equal(pollDelay(99, () => 0.5), 10_000);
  assert.ok(pollDelay(9, () => 0) < pollDelay(9, () => 1));
});

test("the stream's name comes from the path", () => {
  assert.equal(streamOfPath("/watch/hall-1"), "hall-1");
  assert.equal(streamOfPath("/watch/main%20hall/"), "main hall");
  assert.equal(streamOfPath("/watch/%zz"), "");
  assert.equal(streamOfPath("/watch/"), "");
  assert.equal(streamOfPath("/watch/a/b"), "");
});

test("the options' draft holds what must be given", () => {
  assert.equal(template(undefined), "{}");
  assert.equal(template({ properties: { a: { type: "string" } } }), "{}");
  assert.deepEqual(JSON.parse(template({ required: ["target", "n", "f"], properties: { target: { type: "string" }, n: { type: "integer" }, f: { default: "flv" } } })), { target: "", n: 0, f: "flv" });
});

test("an answer that has begun has stopped when nothing more of it comes", () => {
  const flow = new Flow(1000);
  assert.equal(flow.stopped(0, 9000), false, "its first byte has a limit of its own");
  assert.equal(flow.stopped(100, 10_000), false);
  assert.equal(flow.stopped(100, 12_999), false);
  assert.equal(flow.stopped(101, 12_999), false, "a slow one is not silent");
  assert.equal(flow.stopped(101, 15_998), false);
  assert.equal(flow.stopped(101, 15_999), true);
});

test("the pathway of a silent edge comes last, and stays where it is the only one", () => {
  assert.deepEqual(pathwaysAfter("edge", ["edge", "backup"]), ["backup", "edge"]);
  assert.deepEqual(pathwaysAfter("backup", ["edge", "backup"]), ["edge", "backup"]);
  assert.equal(pathwaysAfter("edge", ["edge"]), null);
  assert.equal(pathwaysAfter("", ["edge", "backup"]), null, "a rung that is not listed any more");
});

test("a page that came with a token asks behind it", () => {
  assert.equal(sourceOf("main hall", ""), "/hls/main%20hall/index.m3u8");
  assert.equal(sourceOf("main", "#token=1800000000.73337f47.a432b9f15d2141449a218c0d01e455ed"), "/t/1800000000.73337f47.a432b9f15d2141449a218c0d01e455ed/hls/main/index.m3u8");
  assert.equal(sourceOf("main", "#token=../../x"), "/hls/main/index.m3u8");
});
