import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { catalogues, pickLanguage, words } from "../src/i18n";

test("every word is there in both languages, with the same values to fill in", () => {
  const values = (text: string): string[] => [...text.matchAll(/\{(\w+)\}/g)].map((m) => m[1] ?? "").sort();
  for (const [key, text] of Object.entries(catalogues.en)) {
    const german = catalogues.de[key as keyof typeof catalogues.de];
    assert.ok(german.length > 0 && text.length > 0, key);
    assert.deepEqual(values(german), values(text), key);
  }
});

test("no word is unused", () => {
  const folder = join(process.cwd(), "src");
  const sources = [folder, join(folder, "render")].flatMap((f) => readdirSync(f).filter((n) => n.endsWith(".ts") && n !== "i18n.ts").map((n) => readFileSync(join(f, n), "utf8")));
  const text = sources.join("\n");
  for (const key of Object.keys(catalogues.en)) {
    if (key.startsWith("phase_")) continue; // made from what the server says
    const stem = key.replace(/_(one|other)$/, "");
    assert.ok(text.includes(`"${key}"`) || text.includes(`"${stem}"`), key);
  }
});

test("every phase of the schemas has a word", () => {
  const schemas = join(process.cwd(), "..", "schemas");
  for (const file of ["stream.hpp", "task.hpp", "node.hpp"])
    for (const match of readFileSync(join(schemas, file), "utf8").matchAll(/(?:stream|task|node|edge)_phase::(\w+), (?:std::string_view|sv)\(/g))
      assert.ok(`phase_${match[1]}` in catalogues.en, `${file}: ${match[1]}`);
});

test("plurals, values and unknown phases", () => {
  const en = words("en");
  assert.equal(en.plural("health_problems", 1), "1 problem");
  assert.equal(en.plural("health_problems", 2), "2 problems");
  assert.equal(words("de").plural("missed", 1), "Hier fehlt 1 Ereignis.");
  assert.equal(en.t("cores", { used: "1.5", all: "8" }), "1.5 of 8 cores");
  assert.equal(words("de").phase("crash_looping"), "stürzt immer wieder ab");
  assert.equal(en.phase("hibernating"), "hibernating");
});

test("the chosen language goes before the browser's, and English is the last resort", () => {
  assert.equal(pickLanguage(null, ["de-AT", "en"]), "de");
  assert.equal(pickLanguage("en", ["de"]), "en");
  assert.equal(pickLanguage("xx", ["fr", "ja"]), "en");
});
