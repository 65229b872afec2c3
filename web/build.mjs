// Bundles src/ into the committed dist/. The same sources and lock file always give the same bytes: CI builds again and compares.
import { build } from "esbuild";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "dist");

const shared = { absWorkingDir: here, bundle: true, minify: true, charset: "utf8", legalComments: "none", logLevel: "warning", target: ["es2021"] };
await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
await Promise.all([
  build({ ...shared, entryPoints: { app: "src/main.ts", watch: "src/watch.ts" }, format: "esm", outdir: out }),
  build({ ...shared, entryPoints: { styles: "src/styles.css" }, outdir: out }),
]);

for (const name of (await readdir(join(here, "src"))).filter((n) => /\.(html|svg)$/.test(n)))
  await writeFile(join(out, name), await readFile(join(here, "src", name)));

// The whole of it: its light build plays no sound that has segments of its own. hls.js starts its worker from its own function's text, which a bundler's
// renaming would break: it ships as its authors built it.
const hls = join(here, "node_modules", "hls.js");
const player = await readFile(join(hls, "dist", "hls.min.js"), "utf8");
await writeFile(join(out, "hls.js"), player.replace(/\n?\/\/# sourceMappingURL=.*\s*$/, "\n"));
const { version } = JSON.parse(await readFile(join(hls, "package.json"), "utf8"));
await writeFile(join(out, "licenses.txt"), `hls.js ${version}\n\n${await readFile(join(hls, "LICENSE"), "utf8")}`);
