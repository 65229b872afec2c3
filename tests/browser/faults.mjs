// Two players of one stream: node faults.mjs WATCH-URL PLAYLIST-URL
// Our own page, and Shaka on a page of somebody else's. In its User-Agent each says which one it is.
// Says four times a second how each plays, by the clock of its picture, until SIGTERM.
// Lines: {kind: "ready"}, {kind: "sample", page, …sample of players.mjs}, {kind: "complaint", …}.
import { launch, say } from "./chromium.mjs";
import { players, sample } from "./players.mjs";

const [watchUrl, playlistUrl] = process.argv.slice(2);

const browser = await launch();
const { weir, shaka } = await players(browser, 640, 360);
const chrome = `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${browser.version()} Safari/537.36`;
const as = (name) => ({ viewport: { width: 720, height: 600 }, userAgent: `${chrome} player/${name}` });
const [ours, theirs] = await Promise.all([weir("weir", watchUrl, as("weir")), shaka("shaka", playlistUrl, as("shaka"))]);
for (let told = false; ; told ||= (say({ kind: "ready" }), true)) {
  for (const [page, playing] of [["weir", ours], ["shaka", theirs]]) say({ kind: "sample", page, ...(await sample(playing)) });
  await new Promise((done) => setTimeout(done, 250));
}
