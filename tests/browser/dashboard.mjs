// The dashboard as an operator uses it: node dashboard.mjs URL TOKEN STREAM FOLDER
// Signs in (once wrongly), waits until the stream is live with a running task, takes pictures, adds a stream and a task through the forms,
// then says every half second what the page shows, until SIGTERM. Lines: {kind: "step", …}, {kind: "desk", …}, {kind: "complaint", …}.
import { join } from "node:path";
import { launch, linksOf, openPage, say } from "./chromium.mjs";

const [url, token, stream, folder] = process.argv.slice(2);
const browser = await launch();
const picture = (page, name, fullPage = true) => page.screenshot({ path: join(folder, `${name}.png`), fullPage });
const step = (name, more = {}) => say({ kind: "step", name, ...more });
const patience = { timeout: 10_000 };

const page = await openPage(browser, "desk", { viewport: { width: 1440, height: 900 }, colorScheme: "light" });
const signIn = async (on, secret) => {
  await on.fill("input[name=token]", secret, patience);
  await on.click("button[type=submit]");
};

// What a card says: its title, its chips, and its facts by label.
const cards = (on, selector) =>
  on.$$eval(selector, (all) => all.map((card) => ({
    title: card.querySelector("h3, h5")?.textContent,
    chips: [...card.querySelectorAll(".chip")].map((chip) => chip.textContent),
    facts: Object.fromEntries([...card.querySelectorAll(".fact")].map((fact) => [fact.querySelector("dt").textContent, fact.querySelector("dd").textContent])),
    meters: Object.fromEntries([...card.querySelectorAll("[role=meter]")].map((meter) => [meter.getAttribute("aria-label"), meter.getAttribute("aria-valuetext")])),
  })));
const shown = async () => ({
  streams: await cards(page, ".card.stream"), tasks: await cards(page, ".task"), edges: await cards(page, "[id^=edge-]"), nodes: await cards(page, "[id^=node-]"),
  tiles: Object.fromEntries(await page.$$eval(".tile", (all) => all.map((tile) => [tile.querySelector("dt").textContent, tile.querySelector("dd").textContent]))),
  events: await page.$$eval(".feed li code", (all) => all.map((one) => one.textContent)),
  health: await page.locator(".health").textContent(patience),
  lost: (await page.locator(".banner").count()) > 0,
});

await page.goto(url);
await page.waitForSelector(".sign-in", patience);
await picture(page, "sign-in");
await signIn(page, "wrong");
step("refused", { text: await page.locator(".field-error").textContent(patience) });
await signIn(page, token);
await page.waitForSelector(`.card.stream.live:has(code:text-is("${stream}")) .task .chip.good`, patience);
await page.waitForSelector("[id^=edge-] .chip.good >> nth=1", patience);
await page.waitForFunction(() => Number(document.querySelectorAll(".tile dd")[2]?.textContent) > 0, null, { timeout: 15_000 }); // the edges have counted viewers
step("signed in", { ...(await shown()), links: await linksOf(page), wide: await page.evaluate(() => document.documentElement.scrollWidth - innerWidth) });
await picture(page, "dashboard");

const phone = await page.context().newPage(); // the same session, as a telephone that is turned to it
await phone.setViewportSize({ width: 390, height: 844 });
await phone.emulateMedia({ colorScheme: "dark" });
await phone.goto(url);
await phone.waitForSelector(".card.stream.live", patience);
await phone.waitForTimeout(1500); // the sparklines have something to show
await picture(phone, "phone");
step("phone", { wide: await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth) });
await phone.close();

await page.click("text=Show key");
await page.waitForSelector("text=Stream key", patience);
step("key", { addresses: await page.$$eval(".card.stream.live .address code", (all) => all.map((one) => one.textContent)) });
await page.click("text=Hide key");

await page.click("text=Add stream");
await page.fill("dialog input[name=name]", "bad name");
await page.click("dialog button[type=submit]");
step("name refused", { text: await page.locator("dialog .field-error").first().textContent(patience) });
await page.fill("dialog input[name=name]", "second");
await page.fill("dialog input[name=title]", "Second hall");
await page.click("dialog button[type=submit]");
const second = page.locator(".card.stream", { has: page.locator("code:text-is('second')") });
await second.waitFor(patience);
await second.locator("text=Add task").click();
await page.waitForSelector("dialog .schema dt", patience);
await picture(page, "add-task", false);
step("task types", { types: await page.$$eval("dialog option", (all) => all.map((one) => one.value)), options: await page.$$eval("dialog .schema > dl > dt code", (all) => all.map((one) => one.textContent)) });
await page.selectOption("dialog select", "restream");
await page.fill("dialog textarea", '{"target": "no address"}');
await page.click("dialog button[type=submit]");
step("target refused", { text: await page.locator("dialog .field-error").first().textContent(patience) });
await page.selectOption("dialog select", "hls");
await page.click("dialog button[type=submit]");
await second.locator(".task").waitFor(patience);
await second.locator(".task button", { hasText: "Disable" }).click();
await second.locator(".task .chip", { hasText: "disabled" }).waitFor(patience);
await second.locator("> .buttons button", { hasText: "Disable" }).click();
await second.locator("> .card-head .chip", { hasText: "disabled" }).waitFor(patience);
step("changed", await shown());

for (;;) {
  say({ kind: "desk", at: Date.now() / 1000, ...(await shown()) });
  await new Promise((done) => setTimeout(done, 500));
}
