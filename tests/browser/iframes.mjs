// Key frames alone, as two players use them: node iframes.mjs PLAYLIST-URL PLAYER
// "shaka" runs fast through the time-shift window, and "hls.js" shows single pictures of it beside what it plays.
// Lines: {kind: "fast", moved, seconds, pictures, usual} (how far in how long, and the rate afterwards), {kind: "still", asked, shown, picture},
// {kind: "fetched", lists, ranges, whole} (how many playlists of key frames, ranges and whole segments, meanwhile), {kind: "done"}, {kind: "complaint", …}.
import { launch, openPage, say, serveSite } from "./chromium.mjs";

const [playlistUrl, player] = process.argv.slice(2);
const patience = { timeout: 60_000, polling: 200 };
const video = '<video id="video" muted playsinline width="320" height="180"></video>';

/** Counts what a page fetches from now on. */
function count(page) {
  const fetched = { lists: 0, ranges: 0, whole: 0 };
  page.on("response", (response) => {
    const { pathname } = new URL(response.url());
    if (response.ok() && pathname.endsWith("/iframes.m3u8")) fetched.lists++;
    else if (pathname.includes("/s/")) fetched[response.status() === 206 ? "ranges" : "whole"]++;
  });
  return fetched;
}

async function runFast(browser) {
  const page = await openPage(browser, "shaka");
  await page.goto(await serveSite("shaka-player/dist/shaka-player.hls.js", video));
  await page.evaluate(async (url) => {
    const player = (window.player = new shaka.Player());
    await player.attach(document.getElementById("video"));
    await player.load(url);
    await document.getElementById("video").play();
  }, playlistUrl);
  await page.waitForFunction(() => document.getElementById("video").readyState > 2, null, patience);
  const fetched = count(page);
  const seen = await page.evaluate(async () => {
    const element = document.getElementById("video");
    const pictures = () => element.getVideoPlaybackQuality().totalVideoFrames;
    element.currentTime = player.seekRange().start + 3;
    await new Promise((done) => element.addEventListener("seeked", done, { once: true }));
    const now = () => ({ at: performance.now() / 1000, position: element.currentTime, pictures: pictures() });
    const wait = (over) => new Promise((done) => {
      const timer = setInterval(() => over() && (clearInterval(timer), done()), 50);
    });
    const asked = now();
    player.trickPlay(4);
    await wait(() => element.currentTime > asked.position + 3); // by then it has changed over
    const began = now();
    await wait(() => element.currentTime > began.position + 8);
    const ended = now();
    player.cancelTrickPlay();
    await wait(() => element.playbackRate === 1 && element.readyState > 2);
    return { moved: ended.position - began.position, seconds: ended.at - began.at, pictures: ended.pictures - began.pictures, usual: element.playbackRate };
  });
  say({ kind: "fast", ...seen });
  say({ kind: "fetched", ...fetched });
}

async function showStills(browser) {
  const page = await openPage(browser, "hls.js");
  await page.goto(await serveSite("hls.js/dist/hls.js", `${video}<video id="still" muted playsinline width="320" height="180"></video>`));
  await page.evaluate(async (url) => {
    const player = (window.player = new Hls());
    player.loadSource(url);
    player.attachMedia(document.getElementById("video"));
    await document.getElementById("video").play();
  }, playlistUrl);
  await page.waitForFunction(() => player.latestLevelDetails && document.getElementById("video").readyState > 2, null, patience);
  const fetched = count(page);
  const start = await page.evaluate(() => {
    window.stills = player.createIFramePlayer();
    stills.attachMedia(document.getElementById("still"));
    return player.latestLevelDetails.fragmentStart;
  });
  for (const asked of [start + 5, start + 13, start + 9]) {
    await page.evaluate((time) => stills.loadMediaAt(time), asked);
    const near = (time) => {
      const still = document.getElementById("still");
      return still.readyState > 1 && !still.seeking && Math.abs(still.currentTime - time) < 2.2 && still.videoWidth > 0;
    };
    await page.waitForFunction(near, asked, patience);
    say({ kind: "still", asked, ...(await page.evaluate(() => {
      const still = document.getElementById("still");
      const canvas = Object.assign(document.createElement("canvas"), { width: 16, height: 9 }).getContext("2d");
      canvas.drawImage(still, 0, 0, 16, 9);
      return { shown: still.currentTime, picture: [...canvas.getImageData(0, 0, 16, 9).data].join() };
    })) });
  }
  say({ kind: "fetched", ...fetched });
}

const browser = await launch();
await { shaka: runFast, "hls.js": showStills }[player](browser);
say({ kind: "done" });
await new Promise(() => setInterval(() => {}, 60_000)); // until SIGTERM
