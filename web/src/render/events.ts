// What happened, newest first.
import { clock, dateTime } from "../format";
import type { FeedRow } from "../state";
import { h, type VNode } from "./dom";
import type { View } from "./parts";

/** "task/868bfe83-fe8f-40db-9ba2-8b53a6092736" → "task/868bfe83": enough to tell two apart by eye. */
const shortIds = (subject: string): string => subject.replace(/\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f-]{22}\b/g, "$1");

export function eventSection(feed: FeedRow[], view: View): VNode {
  const { t, plural, lang } = view.words;
  return h("aside", { class: "feed", "aria-labelledby": "h-events" },
    h("div", { class: "section-head" }, h("h2", { id: "h-events" }, t("events"))),
    feed.length === 0 && h("p", { class: "quiet" }, t("no_events")),
    // A region that scrolls must be reachable by keyboard.
    h("ol", { tabindex: 0, "aria-labelledby": "h-events", role: "list" }, feed.map((row) =>
      row.kind === "gap"
        ? h("li", { class: "gap", key: `gap-${row.before}` }, plural("missed", row.missed))
        : h("li", { key: String(row.event.number) },
            h("div", { class: "event-head" },
              h("time", { datetime: row.event.at, title: dateTime(row.event.at, lang), class: "number" }, clock(row.event.at, lang)),
              h("code", null, row.event.kind)),
            h("p", null, row.event.text),
            h("p", { class: "quiet", title: row.event.subject }, [shortIds(row.event.subject), row.event.actor].filter(Boolean).join(" · "))))));
}
