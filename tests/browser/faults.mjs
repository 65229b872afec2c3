// Viewers that come and go as told, each line of the input: {open: NAME, url} or {close: NAME}. A viewer's User-Agent is its name.
// Says each half second how each plays: {kind: "sample", page, at, loaded, state, stalls, fatalErrors, currentTime, buffered}; and {kind: "complaint", …}.
import { createInterface } from "node:readline";
import { launch, openPage, say } from "./chromium.mjs";

const browser = await launch();
const pages = new Map(); // name → page

// Read in one go inside the page: its clock and its position belong together. `loaded` changes when the page is loaded again.
const sample = (page) =>
  page.evaluate(() => {
    if (!window.weirPlayer) return null;
    const { state, stalls, fatalErrors, currentTime } = window.weirPlayer;
    const { buffered: ranges } = document.getElementById("video");
    return { at: (performance.timeOrigin + performance.now()) / 1000, loaded: performance.timeOrigin, state, stalls, fatalErrors, currentTime,
      buffered: ranges.length ? ranges.end(ranges.length - 1) - currentTime : 0 };
  });

async function watch(name, url) {
  const page = await openPage(browser, name, { viewport: { width: 480, height: 400 }, userAgent: name });
  pages.set(name, page);
  const gone = (error) => { // closed meanwhile, as told
    if (pages.get(name) === page) throw error;
  };
  await page.goto(url).catch(gone);
  while (pages.get(name) === page) {
    const seen = await sample(page).catch(gone);
    if (seen) say({ kind: "sample", page: name, ...seen });
    await new Promise((done) => setTimeout(done, 500));
  }
}

async function end(name) {
  const page = pages.get(name);
  pages.delete(name);
  await page?.context().close();
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const { open, close, url } = JSON.parse(line);
  void (open ? watch(open, url) : end(close));
});
