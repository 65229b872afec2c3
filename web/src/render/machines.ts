// Nodes and edges.
import { bitRate, bytes, bytesOf, duration, number, percent, time } from "../format";
import { historyLimit } from "../state";
import type { EdgeStatus, NodeStatus } from "../types";
import { h, type VNode } from "./dom";
import { bar, fact, phaseChip, sparkline, type View } from "./parts";

export function nodeSection(nodes: NodeStatus[], view: View): VNode {
  const { t } = view.words;
  return h("section", { "aria-labelledby": "h-nodes" },
    h("div", { class: "section-head" }, h("h2", { id: "h-nodes" }, t("nodes"))),
    nodes.length === 0 && h("div", { class: "card empty" }, h("p", null, t("no_nodes"))),
    h("ul", { class: "cards" }, nodes.map((node) => nodeCard(node, view))));
}

function nodeCard(node: NodeStatus, view: View): VNode {
  const { t, plural, lang } = view.words;
  const { spec, load } = node;
  const heard = time(node.last_heartbeat);
  return h("li", { class: "card", key: spec.name, id: `node-${spec.name}` },
    h("div", { class: "card-head" }, h("h3", null, spec.name), phaseChip(node.phase, view.words)),
    h("ul", { class: "tags" }, spec.roles.map((role) => h("li", { key: role }, role))),
    bar(t("cpu"), load.cpu_milli, spec.capacity_milli, t("cores", { used: number(load.cpu_milli / 1000, lang, 1), all: number(spec.capacity_milli / 1000, lang) })),
    bar(t("memory"), bytesOf(load.memory_used), bytesOf(load.memory_total), t("of", { part: bytes(load.memory_used, lang), all: bytes(load.memory_total, lang) })),
    h("p", { class: "quiet" }, [plural("tasks_here", load.tasks), heard && view.now - heard > 3000 && t("heard", { age: duration(view.now - heard, lang) }), spec.version && `${t("version")} ${spec.version}`]
      .filter(Boolean).join(" · ")));
}

export function edgeSection(edges: EdgeStatus[], history: Record<string, number[]>, view: View): VNode {
  const { t } = view.words;
  return h("section", { "aria-labelledby": "h-edges" },
    h("div", { class: "section-head" }, h("h2", { id: "h-edges" }, t("edges"))),
    edges.length === 0 && h("div", { class: "card empty" }, h("p", null, t("no_edges"))),
    h("ul", { class: "cards" }, edges.map((edge) => edgeCard(edge, history[edge.spec.name] ?? [], view))));
}

function edgeCard(edge: EdgeStatus, history: number[], view: View): VNode {
  const { t, lang } = view.words;
  const { spec, load } = edge;
  const failing = edge.phase === "dead" || edge.phase === "suspect";
  return h("li", { class: "card", key: spec.name, id: `edge-${spec.name}` },
    h("div", { class: "card-head" }, h("div", { class: "card-title" }, h("h3", null, spec.name), h("code", { class: "quiet" }, spec.url.replace(/^https?:\/\//, ""))), phaseChip(edge.phase, view.words)),
    bar(t("egress"), load.bits_per_second, spec.capacity_bps, t("of", { part: bitRate(load.bits_per_second, lang), all: bitRate(spec.capacity_bps, lang) })),
    sparkline(history, historyLimit, 0, `${t("egress")}, ${t("last_minute")}`),
    h("dl", { class: "facts" },
      fact(t("viewers"), number(load.viewers, lang)),
      fact(t("hits"), percent(load.hits, load.hits + load.misses, lang)),
      fact(t("weight"), number(edge.weight_milli / 1000, lang, 2)),
      fact(t("connections"), number(load.connections, lang)),
      fact(t("restarts"), number(edge.restarts, lang))),
    edge.last_error && h("p", { class: `error-line ${failing ? "now" : "past"}` }, h("strong", null, `${t("last_error")}: `), edge.last_error));
}
