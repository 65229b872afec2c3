// Small pieces that several cards share.
import type { Words } from "../i18n";
import { h, type Child, type VNode } from "./dom";

/** What a card needs besides its data. */
export interface View {
  words: Words;
  /** The server's clock, ms since the epoch. */
  now: number;
  /** Things for which a request runs: their buttons wait. */
  busy: ReadonlySet<string>;
  copied: string;
  actions: Actions;
}

export interface Actions {
  copy(id: string, text: string): void;
  showKey(stream: string): void;
  hideKey(stream: string): void;
  toggleStream(id: string): void;
  copySigned(id: string): void;
  watchSigned(id: string): void;
  toggleTask(id: string): void;
  retryTask(id: string): void;
  openAddStream(): void;
  openAddTask(stream: string): void;
  openChangeTask(id: string): void;
}

export type Tone = "good" | "busy" | "warn" | "bad" | "idle";
const tones: Record<string, Tone> = {
  live: "good", running: "good", ready: "good", serving: "good", up: "good",
  ending: "busy", placed: "busy", starting: "busy", stopping: "busy", joining: "busy", draining: "busy",
  backing_off: "warn", suspect: "warn", cordoned: "warn",
  crash_looping: "bad", failed: "bad", down: "bad", dead: "bad", unreachable: "bad",
};
export const toneOf = (phase: string): Tone => tones[phase] ?? "idle";

/** Each tone has a shape of its own, so that nobody depends on colour: disc, half disc, diamond, triangle, ring. */
function shape(tone: Tone): VNode {
  const shapes: Record<Tone, VNode[]> = {
    good: [h("circle", { cx: 6, cy: 6, r: 5 })],
    busy: [h("circle", { cx: 6, cy: 6, r: 4.25, class: "ring" }), h("path", { d: "M6 1.75a4.25 4.25 0 0 1 0 8.5z" })],
    warn: [h("path", { d: "M6 .5 11.5 6 6 11.5.5 6z" })],
    bad: [h("path", { d: "M6 .8 11.7 11H.3z" })],
    idle: [h("circle", { cx: 6, cy: 6, r: 4.25, class: "ring" })],
  };
  return h("svg", { class: "shape", viewBox: "0 0 12 12", "aria-hidden": "true" }, shapes[tone]);
}

export const chip = (tone: Tone, text: string): VNode => h("span", { class: `chip ${tone}` }, shape(tone), text);
export const phaseChip = (phase: string, words: Words): VNode => chip(toneOf(phase), words.phase(phase));

export function button(text: string, onclick: () => void, props: Record<string, string | boolean | undefined> = {}): VNode {
  return h("button", { type: "button", onclick, ...props }, text);
}

/** A labelled bar. `part` may exceed `whole`; the words say so, the bar stops at its end. */
export function bar(label: string, part: number, whole: number, text: string): VNode {
  const share = whole > 0 && Number.isFinite(part) ? Math.min(1, Math.max(0, part / whole)) : 0;
  const tone = share >= 0.9 ? "bad" : share >= 0.75 ? "warn" : "good";
  const now = Math.round(share * 100);
  return h("div", { class: "bar" },
    h("div", { class: "bar-words" }, h("span", null, label), h("span", { class: "number" }, text)),
    h("div", { class: "bar-track", role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": now, "aria-valuetext": text },
      h("div", { class: `bar-fill ${tone}`, style: { width: `${(share * 100).toFixed(1)}%` } })));
}

/** Values over time as a line; the words beside it carry the number. */
export function sparkline(values: number[], slots: number, top: number, label: string): VNode {
  const high = Math.max(top, 1, ...values);
  const x = (index: number): number => ((slots - values.length + index) / (slots - 1)) * 100;
  const points = values.map((value, index) => `${x(index).toFixed(1)},${(23 - (value / high) * 22).toFixed(1)}`);
  const first = points[0];
  const last = points[points.length - 1];
  return h("svg", { class: "spark", viewBox: "0 0 100 24", preserveAspectRatio: "none", role: "img", "aria-label": label },
    first && last && h("polygon", { points: `${first.split(",")[0]},24 ${points.join(" ")} ${last.split(",")[0]},24` }),
    h("polyline", { points: points.join(" ") }));
}

export const fact = (label: string, value: Child): VNode => h("div", { class: "fact" }, h("dt", null, label), h("dd", { class: "number" }, value));

/** An address with its copy button. */
export function address(id: string, label: string, text: string, view: View): VNode {
  const { t } = view.words;
  const done = view.copied === id;
  return h("div", { class: "address", key: id },
    h("span", { class: "address-label" }, label),
    h("code", { tabindex: 0, "aria-label": `${label}: ${text}` }, text),
    button(done ? t("copied") : t("copy"), () => view.actions.copy(id, text), { class: `small${done ? " done" : ""}`, "aria-label": done ? t("copied") : t("copy_of", { what: label }) }));
}
