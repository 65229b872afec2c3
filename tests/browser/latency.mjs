// One viewer of a stream whose picture carries the time at which it was made (time_code.py): node latency.mjs WATCH-URL FOLDER
// Says each second how old the pictures were when they were shown, until SIGTERM.
// Lines: {kind: "ready"}, {kind: "readings", at, ages (ms), bad, …weirPlayer, urls}, {kind: "complaint", …}.
import { join } from "node:path";
import { launch, openPage, say } from "./chromium.mjs";

const [url, folder] = process.argv.slice(2);
const patience = { timeout: 90_000, polling: 200 };

const browser = await launch();
const page = await openPage(browser, "viewer", { viewport: { width: 720, height: 600 } });
const fetched = { parts: 0, segments: 0, playlists: 0, waits: 0, skips: 0 };
page.on("request", (request) => {
  const { pathname, search } = new URL(request.url());
  if (/\/\d+\.\d+\.m4s$/.test(pathname)) fetched.parts++;
  else if (/\/\d+\.(m4s|ts)$/.test(pathname)) fetched.segments++;
  else if (pathname.includes("/p/")) {
    fetched.playlists++;
    if (search.includes("_HLS_msn=")) fetched.waits++;
    if (search.includes("_HLS_skip=")) fetched.skips++;
  }
});
await page.goto(url);
await page.waitForFunction(() => window.weirPlayer?.state === "playing", null, patience);
await page.evaluate(() => {
  const video = document.getElementById("video");
  const strip = Object.assign(document.createElement("canvas"), { width: 32, height: 1 }).getContext("2d", { willReadFrequently: true });
  strip.imageSmoothingEnabled = false;
  window.readings = { ages: [], bad: 0 };
  const read = () => {
    const now = Math.floor(performance.timeOrigin + performance.now());
    const x = video.videoWidth / 640, y = video.videoHeight / 360;
    strip.drawImage(video, 0, 8 * y, 512 * x, 16 * y, 0, 0, 32, 1);
    const pixels = strip.getImageData(0, 0, 32, 1).data;
    let value = 0;
    for (let bit = 0; bit < 32; bit++) if (pixels[4 * bit] > 110) value += 2 ** bit;
    const age = ((now % 2 ** 32) - value + 2 ** 32) % 2 ** 32;
    if (age < 60_000) window.readings.ages.push(age);
    else window.readings.bad++;
    video.requestVideoFrameCallback(read);
  };
  video.requestVideoFrameCallback(read);
});
await page.screenshot({ path: join(folder, "latency.png") });
say({ kind: "ready" });
for (;;) {
  await new Promise((done) => setTimeout(done, 1000));
  const news = await page.evaluate(() => {
    const taken = window.readings;
    window.readings = { ages: [], bad: 0 };
    const { state, stalls, fatalErrors, recoveredErrors, latency, droppedFrames, currentTime, edges } = window.weirPlayer;
    return { ...taken, state, stalls, fatalErrors, recoveredErrors, latency, droppedFrames, currentTime, edges: { ...edges } };
  });
  say({ kind: "readings", at: Date.now() / 1000, ...news, fetched: { ...fetched } });
}
