// Bundles each tests/*.test.ts for Node and runs them with Node's own test runner.
import { build } from "esbuild";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const names = readdirSync(join(here, "tests")).filter((n) => n.endsWith(".test.ts"));
const outdir = join(here, "build", "tests");
await build({
  absWorkingDir: here, bundle: true, platform: "node", format: "esm", target: ["node18"], outdir, outExtension: { ".js": ".mjs" },
  logLevel: "warning", entryPoints: names.map((n) => join("tests", n)),
});
const files = names.map((n) => join(outdir, n.replace(/\.ts$/, ".mjs")));
process.exit(spawnSync(process.execPath, ["--test", ...files], { cwd: here, stdio: "inherit" }).status ?? 1);
