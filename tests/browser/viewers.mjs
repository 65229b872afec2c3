// Viewers of one stream: node viewers.mjs WATCH-URL EDGES FOLDER
// Opens the player page until each of EDGES edges has a viewer, then says every half second how each page plays, until SIGTERM.
// Lines: {kind: "assigned", page, edge}, {kind: "sample", page, at, loaded, …weirPlayer}, {kind: "ready", pages: [{page, edge}], loads, links}, {kind: "complaint", …}.
import { join } from "node:path";
import { launch, linksOf, openPage, say } from "./chromium.mjs";

const [url, edges, folder] = process.argv.slice(2);
const mostLoads = 10;
const small = { width: 720, height: 600 }; // painting without a GPU costs more than decoding

const browser = await launch();
const viewers = new Map(); // edge → {page, name}
let loads = 0;

// Read in one go inside the page: its clock and its position belong together. `loaded` changes when the page is loaded again.
const sample = (page) =>
  page.evaluate(() => {
    const { state, reason, stalls, fatalErrors, recoveredErrors, currentTime, latency, droppedFrames, level, edges } = window.weirPlayer;
    const video = document.getElementById("video");
    const quality = video.getVideoPlaybackQuality();
    const ranges = video.buffered;
    const protocols = [...new Set(performance.getEntriesByType("resource").filter((r) => r.name.includes(".m3u8")).map((r) => r.nextHopProtocol))];
    return { at: (performance.timeOrigin + performance.now()) / 1000, loaded: performance.timeOrigin, state, reason, stalls, fatalErrors, recoveredErrors, currentTime, latency, droppedFrames, level,
      edges: { ...edges }, protocols, frames: quality.totalVideoFrames, height: video.videoHeight, buffered: ranges.length ? ranges.end(ranges.length - 1) - currentTime : 0 };
  });

const patience = { timeout: 60_000, polling: 200 };
const edgeOf = (page) => page.waitForFunction(() => window.weirPlayer && Object.keys(window.weirPlayer.edges)[0], null, patience).then((edge) => edge.jsonValue());

const pages = await Promise.all(Array.from({ length: Number(edges) }, async (_, index) => ({ name: `viewer-${index + 1}`, page: await openPage(browser, `viewer-${index + 1}`, { viewport: small }) })));
for (const viewer of pages)
  for (;;) {
    if (loads++ === mostLoads) throw new Error(`${mostLoads} viewers were all sent to ${[...viewers.keys()].join(", ")}`);
    await viewer.page.goto(url);
    const edge = await edgeOf(viewer.page);
    say({ kind: "assigned", page: viewer.name, edge });
    if (viewers.has(edge)) continue; // its edge has one: come again, be assigned anew
    viewers.set(edge, viewer);
    break;
  }
for (const { page } of pages) await page.waitForFunction(() => window.weirPlayer.state === "playing", null, patience);
const [first] = viewers.values();
await first.page.setViewportSize({ width: 1280, height: 800 });
await first.page.screenshot({ path: join(folder, "watch.png") });
await first.page.setViewportSize(small);
say({ kind: "ready", loads, pages: [...viewers].map(([edge, { name }]) => ({ page: name, edge })), links: await linksOf(first.page) });

for (;;) {
  for (const { page, name } of viewers.values()) say({ kind: "sample", page: name, ...(await sample(page)) });
  await new Promise((done) => setTimeout(done, 500));
}
