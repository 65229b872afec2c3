// The dashboard as a whole: header, state of the connection, numbers at a glance, sections.
import { bitRate, duration, number } from "../format";
import type { Lang, Words } from "../i18n";
import { problems, recentRate, type Model } from "../state";
import type { ClusterState } from "../types";
import { h, type Child, type VNode } from "./dom";
import { eventSection } from "./events";
import { dialogView, signInForm, type Dialog, type FormActions } from "./forms";
import { edgeSection, nodeSection, serverSection } from "./machines";
import { button, chip, type Actions, type View } from "./parts";
import { streamSection } from "./streams";

/** What the person at this page has done, beside what the server says. */
export interface Desk {
  words: Words;
  dialog: Dialog | null;
  busy: ReadonlySet<string>;
  keys: ReadonlyMap<string, string>;
  copied: string;
  toast: string;
  signInError: string;
}

export interface PageActions extends Actions, FormActions {
  language(lang: Lang): void;
  signOut(): void;
  closeToast(): void;
}

export function page(model: Model, desk: Desk, actions: PageActions, clockNow: number): VNode[] {
  const { words } = desk;
  const view: View = { words, now: clockNow + model.skew, busy: desk.busy, copied: desk.copied, actions };
  const cluster = model.signedIn ? model.cluster : null;
  const body: Child = !model.signedIn
    ? signInForm(words, desk.signInError, desk.busy.has("sign-in"), actions)
    : cluster
      ? dashboard(cluster, model, desk, view)
      : h("p", { class: "card empty", role: "status", key: "connecting" }, words.t("connecting"));
  const out: (VNode | null)[] = [
    h("a", { class: "skip", href: "#main", key: "skip" }, words.t("skip")),
    header(cluster, model.signedIn, words, actions),
    model.signedIn ? lostBanner(model, words, clockNow) : null,
    h("main", { id: "main", key: "main", tabindex: -1 }, body),
    dialogView(desk.dialog, words, actions),
    desk.toast ? h("div", { class: "toast", role: "alert", key: "toast" }, h("span", null, desk.toast), button(words.t("close"), actions.closeToast, { class: "small" })) : null,
  ];
  return out.filter((node): node is VNode => node !== null);
}

function header(cluster: ClusterState | null, signedIn: boolean, words: Words, actions: PageActions): VNode {
  const { t, plural } = words;
  const faults = cluster ? problems(cluster) : [];
  const worst = faults[0]?.severity;
  return h("header", { key: "header" },
    h("div", { class: "brand" },
      h("svg", { viewBox: "0 0 32 32", class: "logo", "aria-hidden": "true" },
        ["first", "second", "third"].map((wave, index) => h("path", { class: wave, d: `M3 ${9 + 7 * index}c4.5-4 8.5-4 13 0s8.5 4 13 0` }))),
      h("div", null, h("h1", null, cluster?.cluster.name || "Weir"), h("p", { class: "quiet" }, cluster ? `Weir ${cluster.cluster.version}` : t("app_subtitle")))),
    cluster && h("div", { class: "health", role: "status" }, worst ? chip(worst, plural("health_problems", faults.length)) : chip("good", t("health_good"))),
    h("div", { class: "tools" },
      h("div", { class: "switch", role: "group", "aria-label": t("language") }, (["en", "de"] as const).map((lang) =>
        button(lang.toUpperCase(), () => actions.language(lang), { class: "small", lang, "aria-pressed": String(words.lang === lang), "aria-label": lang === "de" ? "DE, Deutsch" : "EN, English" }))),
      signedIn && cluster && button(t("sign_out"), actions.signOut, { class: "small" })));
}

function lostBanner(model: Model, words: Words, now: number): VNode | null {
  if (model.connection.phase !== "lost") return null;
  const { t, lang } = words;
  const age = duration(now - model.receivedAt, lang);
  const wait = model.connection.retryAt - now;
  const detail = model.receivedAt === 0 ? "" : wait > 500 ? t("lost_detail", { age, wait: duration(wait + 999, lang) }) : t("lost_now", { age });
  // Only the sentence is announced; the numbers beside it change every second.
  return h("div", { class: "banner", key: "lost" }, h("strong", { role: "alert" }, t("lost")), " ", h("span", { class: "number" }, detail));
}

function dashboard(cluster: ClusterState, model: Model, desk: Desk, view: View): VNode {
  return h("div", { class: model.connection.phase === "lost" ? "desk stale" : "desk", key: "desk" },
    tiles(cluster, model.history, view.words),
    attention(cluster, view.words),
    h("div", { class: "layout" },
      h("div", { class: "sections" },
        streamSection(cluster, desk.keys, view), serverSection(cluster.rtmp_servers, view), edgeSection(cluster.edges, model.history, view), nodeSection(cluster.nodes, view)),
      eventSection(model.feed, view)));
}

function tiles(cluster: ClusterState, history: Model["history"], words: Words): VNode {
  const { t, lang } = words;
  const count = (all: { phase: string }[], ...phases: string[]): number => all.filter((one) => phases.includes(one.phase)).length;
  const sum = (pick: (edge: ClusterState["edges"][number]) => number): number => cluster.edges.reduce((total, edge) => total + pick(edge), 0);
  const tile = (value: string, label: string, all?: number): VNode =>
    h("div", { class: "tile", key: label }, h("dd", { class: "number" }, value, all !== undefined && h("span", { class: "quiet" }, ` ${t("tile_of", { n: number(all, lang) })}`)), h("dt", null, label));
  return h("dl", { class: "tiles", "aria-label": t("summary") },
    tile(number(count(cluster.streams, "live", "ending"), lang), t("tile_live"), cluster.streams.length),
    tile(number(count(cluster.tasks, "running"), lang), t("tile_tasks"), cluster.tasks.length),
    tile(number(sum((edge) => edge.load.viewers), lang), t("tile_viewers")),
    tile(bitRate(sum((edge) => recentRate(history[edge.name])), lang), t("tile_egress")),
    tile(number(count(cluster.edges, "serving"), lang), t("tile_edges"), cluster.edges.length),
    tile(number(count(cluster.nodes, "ready"), lang), t("tile_nodes"), cluster.nodes.length));
}

function attention(cluster: ClusterState, words: Words): Child {
  const faults = problems(cluster);
  return faults.length > 0 && h("section", { class: "card attention", "aria-labelledby": "h-problems", key: "attention" },
    h("h2", { id: "h-problems" }, words.t("problems")),
    h("ul", { class: "plain" }, faults.map((fault) =>
      h("li", { key: fault.target }, chip(fault.severity, words.phase(fault.phase)), h("a", { href: `#${fault.target}` }, fault.name), fault.detail && h("span", { class: "quiet" }, fault.detail)))));
}
