// Nodes, RTMP servers and edges.
import { bitRate, bytes, duration, number, percent, time } from "../format";
import { historyLimit, recentRate, serverPhase } from "../state";
import type { EdgeStatus, NodeStatus, RtmpServerStatus } from "../types";
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
  const heard = time(node.last_heartbeat);
  return h("li", { class: "card", key: node.name, id: `node-${node.name}` },
    h("div", { class: "card-head" }, h("h3", null, node.name), phaseChip(node.phase, view.words)),
    h("ul", { class: "tags" }, node.roles.map((role) => h("li", { key: role }, role)),
      Object.entries(node.labels).map(([name, value]) => h("li", { key: `label ${name}`, class: "quiet" }, value ? `${name}=${value}` : name))),
    bar(t("cpu"), node.cpu, node.capacity, t("cores", { used: number(node.cpu, lang, 1), all: number(node.capacity, lang) })),
    bar(t("memory"), node.memory_used, node.memory_total, t("of", { part: bytes(node.memory_used, lang), all: bytes(node.memory_total, lang) })),
    h("p", { class: "quiet" }, [plural("tasks_here", node.tasks), heard && view.now - heard > 3000 && t("heard", { age: duration(view.now - heard, lang) }), node.version && `${t("version")} ${node.version}`]
      .filter(Boolean).join(" · ")));
}

export function serverSection(servers: RtmpServerStatus[], view: View): VNode {
  const { t } = view.words;
  return h("section", { "aria-labelledby": "h-servers" },
    h("div", { class: "section-head" }, h("h2", { id: "h-servers" }, t("rtmp_servers"))),
    servers.length === 0 && h("div", { class: "card empty" }, h("p", null, t("no_rtmp_servers"))),
    h("ul", { class: "cards" }, servers.map((server) => serverCard(server, view))));
}

function serverCard(server: RtmpServerStatus, view: View): VNode {
  const { t, lang } = view.words;
  const phase = serverPhase(server);
  return h("li", { class: "card", key: server.name, id: `server-${server.name}` },
    h("div", { class: "card-head" }, h("div", { class: "card-title" }, h("h3", null, server.name), h("code", { class: "quiet" }, server.publish_url)), phaseChip(phase, view.words)),
    h("dl", { class: "facts" },
      server.node && fact(t("node"), server.node),
      server.watched && fact(t("publishing"), number(server.publishers, lang))),
    server.trouble && h("p", { class: `error-line ${phase === "unreachable" ? "now" : "past"}` }, h("strong", null, `${t("last_error")}: `), server.trouble));
}

export function edgeSection(edges: EdgeStatus[], history: Record<string, number[]>, view: View): VNode {
  const { t } = view.words;
  return h("section", { "aria-labelledby": "h-edges" },
    h("div", { class: "section-head" }, h("h2", { id: "h-edges" }, t("edges"))),
    edges.length === 0 && h("div", { class: "card empty" }, h("p", null, t("no_edges"))),
    h("ul", { class: "cards" }, edges.map((edge) => edgeCard(edge, history[edge.name] ?? [], view))));
}

function edgeCard(edge: EdgeStatus, history: number[], view: View): VNode {
  const { t, lang } = view.words;
  const { load } = edge;
  const rate = recentRate(history);
  const failing = edge.phase === "dead" || edge.phase === "suspect";
  return h("li", { class: "card", key: edge.name, id: `edge-${edge.name}` },
    h("div", { class: "card-head" }, h("div", { class: "card-title" }, h("h3", null, edge.name), h("code", { class: "quiet" }, edge.url.replace(/^https?:\/\//, ""))), phaseChip(edge.phase, view.words)),
    h("ul", { class: "tags" }, edge.locality && h("li", { key: "locality", title: edge.networks.join(", ") }, t(edge.networks_only ? "only_for" : "near_to", { locality: edge.locality })),
      Object.entries(edge.labels).map(([name, value]) => h("li", { key: `label ${name}`, class: "quiet" }, value ? `${name}=${value}` : name))),
    bar(t("egress"), rate, edge.capacity, t("of", { part: bitRate(rate, lang), all: bitRate(edge.capacity, lang) })),
    sparkline(history, historyLimit, 0, `${t("egress")}, ${t("last_minute")}`),
    h("dl", { class: "facts" },
      fact(t("viewers"), number(load.viewers, lang)),
      fact(t("hits"), percent(load.hits, load.hits + load.misses, lang)),
      fact(t("weight"), number(edge.weight, lang, 2)),
      fact(t("connections"), number(load.connections, lang)),
      fact(t("restarts"), number(edge.restarts, lang))),
    edge.last_error && h("p", { class: `error-line ${failing ? "now" : "past"}` }, h("strong", null, `${t("last_error")}: `), edge.last_error));
}
