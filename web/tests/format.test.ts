import assert from "node:assert/strict";
import { test } from "node:test";
import { bitRate, bitsOf, bytes, bytesOf, duration, encoderFields, percent, time } from "../src/format";

test("quantities are read as the server writes them, or as plain numbers", () => {
  assert.equal(bitsOf("2.5M"), 2_500_000);
  assert.equal(bitsOf("800k"), 800_000);
  assert.equal(bitsOf("1234567"), 1_234_567);
  assert.equal(bitsOf(42), 42);
  assert.equal(bytesOf("512MiB"), 512 * 1024 ** 2);
  assert.equal(bytesOf("3GB"), 3e9);
  assert.equal(bytesOf("17"), 17);
  assert.ok(Number.isNaN(bitsOf("fast")));
  assert.ok(Number.isNaN(bitsOf("")));
  assert.ok(Number.isNaN(bytesOf("5 apples")));
});

test("quantities are shown with the unit that fits", () => {
  assert.equal(bitRate(0, "en"), "0 bit/s");
  assert.equal(bitRate("6.2M", "en"), "6.2 Mbit/s");
  assert.equal(bitRate("6.2M", "de"), "6,2 Mbit/s");
  assert.equal(bitRate(999_999, "en"), "1 Mbit/s");
  assert.equal(bitRate(940_000_000, "en"), "940 Mbit/s");
  assert.equal(bytes(1536 * 1024 ** 2, "en"), "1.5 GiB");
  assert.equal(bytes("nonsense", "en"), "–");
  assert.equal(percent(97, 100, "en"), "97%");
  assert.equal(percent(0, 0, "en"), "–");
});

test("durations never run backwards and name two units at most", () => {
  assert.equal(duration(-5000, "en"), "0 s");
  assert.equal(duration(59_999, "en"), "59 s");
  assert.equal(duration(60_000, "en"), "1 min");
  assert.equal(duration(3_600_000, "en"), "1 h");
  assert.equal(duration(7_500_000, "en"), "2 h 5 min");
  assert.equal(duration(90_000_000, "de"), "1 T 1 h");
});

test("the start of the epoch and what is no time mean never", () => {
  assert.equal(time("1970-01-01T00:00:00.000Z"), 0);
  assert.equal(time("yesterday"), 0);
  assert.equal(time("2026-11-22T10:00:00.123Z"), Date.UTC(2026, 10, 22, 10, 0, 0, 123));
});

test("an encoder's two fields come from the address and the key", () => {
  assert.deepEqual(encoderFields("rtmp://in.example.org/live/hall-1", "a&b"), {
    server: "rtmp://in.example.org/live", streamKey: "hall-1?key=a%26b", full: "rtmp://in.example.org/live/hall-1?key=a%26b",
  });
});
