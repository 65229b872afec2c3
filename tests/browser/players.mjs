// A stream as two players play it: our own watch page, and Shaka on a page of somebody else's, set up as docs/3-operate.md says.
import { readFile } from "node:fs/promises";
import { openPage, serveSite } from "./chromium.mjs";

const patience = { timeout: 60_000, polling: 200 };

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

async function watchTheClock(page) {
  await page.waitForFunction(() => document.getElementById("video").currentTime > 0 && document.getElementById("video").readyState >= 3, null, patience);
  await page.evaluate(startClock);
  return page;
}

const [, advised] = /## Other players[^]*?```js\n([^]*?)```/.exec(await readFile(new URL("../../docs/3-operate.md", import.meta.url), "utf8"));

/** Two functions that open a page and give it when it plays; `options`: of the browser's context. */
export async function players(browser, width, height) {
  const site = await serveSite("shaka-player/dist/shaka-player.hls.js", `<video id="video" muted playsinline width="${width}" height="${height}"></video>`);
  return {
    async weir(name, watchUrl, options) {
      const page = await openPage(browser, name, options);
      await page.goto(watchUrl);
      return watchTheClock(page);
    },
    async shaka(name, playlistUrl, options) {
      const page = await openPage(browser, name, options);
      await page.goto(site);
      await page.evaluate(`(async () => {
        const video = document.getElementById("video"), url = ${JSON.stringify(playlistUrl)};
        ${advised}
        window.shakaErrors = [];
        player.addEventListener("error", ({ detail: { severity, code } }) => window.shakaErrors.push({ severity, code }));
        await video.play();
      })()`);
      return watchTheClock(page);
    },
  };
}

/** How a page plays: {at (s since 1970), loaded (ms since 1970), currentTime, buffered, still, skipped (s), stalls, errors}. */
export const sample = (page) =>
  page.evaluate(() => {
    const video = document.getElementById("video");
    const ranges = video.buffered;
    const errors = window.weirPlayer ? { fatal: window.weirPlayer.fatalErrors, all: window.weirPlayer.fatalErrors + window.weirPlayer.recoveredErrors }
      : { fatal: window.shakaErrors.filter(({ severity }) => severity === 2).length, all: window.shakaErrors.length, codes: window.shakaErrors.map(({ code }) => code) };
    return { at: (performance.timeOrigin + performance.now()) / 1000, loaded: performance.timeOrigin, currentTime: video.currentTime, ...window.clock, errors,
      buffered: ranges.length ? ranges.end(ranges.length - 1) - video.currentTime : 0 };
  });
