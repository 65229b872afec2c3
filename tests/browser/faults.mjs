// Two players of one stream: node faults.mjs WATCH-URL PLAYLIST-URL
// Our own page, and Shaka on a page of somebody else's, set up as docs/3-operate.md says. In its User-Agent each says which one it is.
// Says four times a second how each plays, by the clock of its picture, until SIGTERM.
// Lines: {kind: "ready"}, {kind: "sample", page, at, currentTime, stalls, still, skipped, buffered, errors}, {kind: "complaint", …}.
import { readFile } from "node:fs/promises";
import { launch, openPage, say, serveSite } from "./chromium.mjs";

const [watchUrl, playlistUrl] = process.argv.slice(2);
const patience = { timeout: 60_000, polling: 200 };

const site = await serveSite("shaka-player/dist/shaka-player.hls.js", '<video id="video" muted playsinline width="640" height="360"></video>');

const [, advised] = /## Other players[^]*?```js\n([^]*?)```/.exec(await readFile(new URL("../../docs/3-operate.md", import.meta.url), "utf8"));
const playWithShaka = `(async () => {
  const video = document.getElementById("video"), url = ${JSON.stringify(playlistUrl)};
  ${advised}
  window.shakaErrors = [];
  player.addEventListener("error", ({ detail: { severity, code } }) => window.shakaErrors.push({ severity, code }));
  await video.play();
})()`;

/** In the page: measures for how long the picture stands still, and how much of it is left out. */
function startClock() {
  const video = document.getElementById("video");
  const clock = (window.clock = { stalls: 0, still: 0, skipped: 0 });
  let at = performance.now(), position = video.currentTime, standing = 0, inside = false;
  setInterval(() => {
    const passed = (performance.now() - at) / 1000, moved = video.currentTime - position;
    at += 1000 * passed;
    position += moved;
    if (moved > 0) {
      standing = 0;
      inside = false;
      if (moved > 1.2 * passed + 0.3) clock.skipped += moved - passed;
      return;
    }
    standing += passed;
    if (inside) clock.still += passed;
    else if (standing > 0.4) {
      inside = true;
      ++clock.stalls;
      clock.still += standing;
    }
  }, 100);
}

const sample = (page) =>
  page.evaluate(() => {
    const video = document.getElementById("video");
    const ranges = video.buffered;
    const errors = window.weirPlayer ? { fatal: window.weirPlayer.fatalErrors, all: window.weirPlayer.fatalErrors + window.weirPlayer.recoveredErrors }
      : { fatal: window.shakaErrors.filter(({ severity }) => severity === 2).length, all: window.shakaErrors.length, codes: window.shakaErrors.map(({ code }) => code) };
    return { at: (performance.timeOrigin + performance.now()) / 1000, loaded: performance.timeOrigin, currentTime: video.currentTime, ...window.clock, errors,
      buffered: ranges.length ? ranges.end(ranges.length - 1) - video.currentTime : 0 };
  });

const browser = await launch();
const chrome = `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${browser.version()} Safari/537.36`;
const open = (name) => openPage(browser, name, { viewport: { width: 720, height: 600 }, userAgent: `${chrome} player/${name}` });
const pages = { weir: await open("weir"), shaka: await open("shaka") };
await Promise.all([pages.weir.goto(watchUrl), pages.shaka.goto(site)]);
await pages.shaka.evaluate(playWithShaka);
await Promise.all(Object.values(pages).map(async (page) => {
  await page.waitForFunction(() => document.getElementById("video").currentTime > 0 && document.getElementById("video").readyState >= 3, null, patience);
  await page.evaluate(startClock);
}));
for (let told = false; ; told ||= (say({ kind: "ready" }), true)) {
  for (const [name, page] of Object.entries(pages)) say({ kind: "sample", page: name, ...(await sample(page)) });
  await new Promise((done) => setTimeout(done, 250));
}
