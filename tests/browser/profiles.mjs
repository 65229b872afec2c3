// Several streams, each watched on our own page and with Shaka: node profiles.mjs NAME WATCH-URL PLAYLIST-URL …
// Says each second how each of them plays, until SIGTERM.
// Lines: {kind: "ready"}, {kind: "sample", stream, player, …sample of players.mjs}, {kind: "complaint", …}.
import { launch, say } from "./chromium.mjs";
import { players, sample } from "./players.mjs";

const browser = await launch();
const { weir, shaka } = await players(browser, 320, 180);
const options = { viewport: { width: 360, height: 640 } };
const watched = [];
for (let words = process.argv.slice(2); words.length; words = words.slice(3)) {
  const [stream, watchUrl, playlistUrl] = words;
  watched.push({ stream, player: "hls.js", page: await weir(`${stream}, hls.js`, watchUrl, options) });
  watched.push({ stream, player: "shaka", page: await shaka(`${stream}, shaka`, playlistUrl, options) });
}
for (let told = false; ; told ||= (say({ kind: "ready" }), true)) {
  for (const { page, ...whose } of watched) say({ kind: "sample", ...whose, ...(await sample(page)) });
  await new Promise((done) => setTimeout(done, 1000));
}
