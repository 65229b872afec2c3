// Numbers, times and quantities as people read them. Pure: language and clock come in as arguments.
import type { Lang } from "./i18n";
import type { BitRate, ByteSize, Timestamp } from "./types";

const powers: Record<string, number> = { "": 1, k: 1e3, K: 1e3, M: 1e6, G: 1e9, T: 1e12, Ki: 1024, Mi: 1024 ** 2, Gi: 1024 ** 3, Ti: 1024 ** 4 };

function quantity(value: string | number, unit: RegExp): number {
  if (typeof value === "number") return value;
  const parts = /^([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z/]*)$/.exec(value.trim());
  const factor = powers[(parts?.[2] ?? "?").replace(unit, "")];
  return parts && factor !== undefined ? Number(parts[1]) * factor : Number.NaN;
}

/** "2.5M" → 2500000; NaN when it is no bit rate. */
export const bitsOf = (value: BitRate): number => quantity(value, /(bit\/s|bps)$/);
/** "512MiB" → 536870912; NaN when it is no size. */
export const bytesOf = (value: ByteSize): number => quantity(value, /B$/);

function scaled(value: number, base: number, units: string[], lang: Lang): string {
  if (!Number.isFinite(value)) return "–";
  let step = 0;
  while (value >= base * 0.9995 && step < units.length - 1) {
    value /= base;
    ++step;
  }
  const digits = value < 10 && step > 0 ? 1 : 0;
  return `${new Intl.NumberFormat(lang, { maximumFractionDigits: digits }).format(value)} ${units[step]}`;
}

export const bitRate = (value: BitRate, lang: Lang): string => scaled(bitsOf(value), 1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"], lang);
export const bytes = (value: ByteSize, lang: Lang): string => scaled(bytesOf(value), 1024, ["B", "KiB", "MiB", "GiB", "TiB"], lang);
export const number = (value: number, lang: Lang, digits = 0): string =>
  new Intl.NumberFormat(lang, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
export const percent = (part: number, whole: number, lang: Lang): string =>
  whole > 0 ? new Intl.NumberFormat(lang, { style: "percent", maximumFractionDigits: 0 }).format(part / whole) : "–";

/** Milliseconds since the epoch; 0 for "never" and for text that is no time. */
export function time(value: Timestamp): number {
  const at = Date.parse(value ?? "");
  return Number.isFinite(at) && at > 0 ? at : 0;
}

/** "7 s", "3 min", "2 h 5 min", "4 d 1 h": two units at most, never negative. */
export function duration(ms: number, lang: Lang): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  const day = lang === "de" ? "T" : "d";
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h${s % 3600 < 60 ? "" : ` ${Math.floor((s % 3600) / 60)} min`}`;
  return `${Math.floor(s / 86400)} ${day}${s % 86400 < 3600 ? "" : ` ${Math.floor((s % 86400) / 3600)} h`}`;
}

export const clock = (value: Timestamp, lang: Lang): string =>
  new Intl.DateTimeFormat(lang, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false }).format(time(value));
export const dateTime = (value: Timestamp, lang: Lang): string =>
  new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "medium", hour12: false }).format(time(value));

/** What an encoder such as OBS asks for, from "rtmp://host/app/name" and the key. */
export function encoderFields(url: string, key: string): { server: string; streamKey: string; full: string } {
  const cut = url.lastIndexOf("/");
  const secret = `?key=${encodeURIComponent(key)}`;
  return { server: url.slice(0, cut), streamKey: url.slice(cut + 1) + secret, full: url + secret };
}
