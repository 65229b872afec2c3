// Debian's Chromium as the tests start it, and what a page must not do: throw, complain on its console, break its own policy.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { chromium } from "../../web/node_modules/playwright-core/index.mjs";

export const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const believed = process.env.WEIR_CHROMIUM_BELIEVES; // keys of certificates that no authority of the system's signed

/** A browser with a profile of its own; as root it cannot have a sandbox. Ends with this process (SIGTERM is handled by playwright). */
export const launch = () =>
  chromium.launch({
    executablePath: process.env.WEIR_CHROMIUM || "/usr/bin/chromium",
    headless: true,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
      "--autoplay-policy=no-user-gesture-required", ...(believed ? [`--ignore-certificate-errors-spki-list=${believed}`] : [])],
  });

/** A page in a context of its own. Each complaint in that context is said as a line {kind: "complaint", page, what, text, at}. */
export async function openPage(browser, name, options) {
  const context = await browser.newContext({ locale: "en", ...options });
  const complain = (what, text, at = "") => say({ kind: "complaint", page: name, what, text, at });
  context.on("console", (message) => message.type() === "error" && complain("console", message.text(), message.location().url));
  context.on("weberror", (error) => complain("exception", `${error.error().message}\n${error.error().stack}`));
  await context.exposeFunction("tellViolation", (text) => complain("policy", text));
  await context.addInitScript(() =>
    document.addEventListener("securitypolicyviolation", (event) => window.tellViolation(`${event.violatedDirective}: ${event.blockedURI} (${event.sourceFile}:${event.lineNumber})`)));
  return context.newPage();
}

/** Serves somebody else's page, with these elements and a library of web/node_modules, at the address that it gives. */
export async function serveSite(library, elements) {
  const script = await readFile(new URL(`../../web/node_modules/${library}`, import.meta.url));
  const page = `<!doctype html><title>${library}</title>${elements}<script src="/library.js"></script>`;
  const site = createServer((request, answer) => {
    if (request.url === "/library.js") answer.writeHead(200, { "Content-Type": "text/javascript" }).end(script);
    else if (request.url === "/") answer.writeHead(200, { "Content-Type": "text/html" }).end(page);
    else answer.writeHead(204).end(); // the icon
  });
  await new Promise((done) => site.listen(0, "127.0.0.1", done));
  return `http://127.0.0.1:${site.address().port}/`;
}

/** The addresses that the page's links lead to, and the links that lead nowhere on the page itself. */
export const linksOf = (page) =>
  page.evaluate(() => [...document.querySelectorAll("[href], [src]")].map((element) => {
    const raw = element.getAttribute("href") ?? element.getAttribute("src");
    return { raw, url: element.href ?? element.src, dead: raw.startsWith("#") && !document.getElementById(raw.slice(1)) };
  }));
