// Streams with their publishers, addresses and tasks.
import { bitRate, bitsOf, dateTime, duration, encoderFields, number, time } from "../format";
import { taskName } from "../state";
import type { Audience, ClusterState, Publisher, StreamStatus, TaskStatus } from "../types";
import { h, type VNode } from "./dom";
import { address, button, chip, fact, phaseChip, type View } from "./parts";

export function streamSection(cluster: ClusterState, keys: ReadonlyMap<string, string>, view: View): VNode {
  const { t } = view.words;
  const order = { live: 0, ending: 1, offline: 2 };
  const streams = [...cluster.streams].sort((a, b) => order[a.phase] - order[b.phase] || a.name.localeCompare(b.name));
  return h("section", { "aria-labelledby": "h-streams" },
    h("div", { class: "section-head" }, h("h2", { id: "h-streams" }, t("streams")), button(t("add_stream"), view.actions.openAddStream, { class: "primary" })),
    streams.length === 0 && h("div", { class: "card empty" }, h("p", null, t("no_streams")), h("p", { class: "quiet" }, t("no_streams_hint"))),
    h("ul", { class: "cards streams" }, streams.map((s) => streamCard(s, cluster.tasks.filter((task) => task.stream_id === s.id), keys.get(s.id), view))));
}

function streamCard(stream: StreamStatus, tasks: TaskStatus[], key: string | undefined, view: View): VNode {
  const { t, phase } = view.words;
  const off = !stream.enabled;
  return h("li", { class: `card stream ${stream.phase}`, key: stream.id, id: `stream-${stream.id}` },
    h("div", { class: "card-head" },
      h("div", { class: "card-title" }, h("h3", null, stream.title || stream.name), h("code", { class: "quiet" }, stream.name)),
      off ? chip("idle", `${phase(stream.phase)}, ${t("disabled")}`) : phaseChip(stream.phase, view.words)),
    h("div", { class: "buttons" },
      stream.viewing === "signed" ? button(t("watch"), () => view.actions.watchSigned(stream.id), { disabled: view.busy.has(`${stream.id}/sign`), "aria-label": `${t("watch")}: ${stream.name}` })
        : h("a", { class: "button", href: `/watch/${encodeURIComponent(stream.name)}` }, t("watch")),
      button(off ? t("enable") : t("disable"), () => view.actions.toggleStream(stream.id), { disabled: view.busy.has(stream.id), "aria-label": `${off ? t("enable") : t("disable")}: ${stream.name}` })),
    stream.phase === "live" && audienceFacts(stream.audience, view),
    h("div", { class: "block" },
      h("h4", null, t("publishers")),
      stream.publishers.length === 0 ? h("p", { class: "quiet" }, t("nobody")) : h("ul", { class: "plain" }, stream.publishers.map((p) => publisherLine(p, view)))),
    h("div", { class: "block addresses" }, addresses(stream, key, view)),
    h("div", { class: "block" },
      h("div", { class: "section-head" }, h("h4", null, t("tasks")),
        button(t("add_task"), () => view.actions.openAddTask(stream.id), { class: "small", "aria-label": `${t("add_task")}: ${stream.name}` })),
      tasks.length === 0 ? h("p", { class: "quiet" }, t("no_tasks")) : h("ul", { class: "tasks" }, tasks.map((task) => taskItem(task, view)))));
}

function audienceFacts(audience: Audience, view: View): VNode {
  const { t, lang } = view.words;
  const asked = audience.hits + audience.misses;
  const hours = audience.played_seconds / 3600;
  return h("dl", { class: "facts" },
    fact(t("viewers"), number(audience.viewers, lang)),
    fact(t("egress"), bitRate(audience.bits_per_second, lang)),
    asked > 0 && fact(t("hits"), `${number((100 * audience.hits) / asked, lang)} %`),
    audience.join_seconds !== null && fact(t("first_picture"), `${number(audience.join_seconds, lang, 1)} s`),
    hours > 0 && fact(t("stalls_an_hour"), number(audience.stalls / hours, lang, 1)));
}

function publisherLine(publisher: Publisher, view: View): VNode {
  const { t, lang } = view.words;
  return h("li", { key: `${publisher.server}/${publisher.client_id}` },
    h("strong", null, publisher.server), " ",
    publisher.address && h("span", { class: "quiet" }, `${t("from", { address: publisher.address })} `),
    h("span", { class: "number", title: dateTime(publisher.since, lang) }, t("since", { age: duration(view.now - time(publisher.since), lang) })));
}

function addresses(stream: StreamStatus, key: string | undefined, view: View): VNode[] {
  const { t } = view.words;
  const id = stream.id;
  const out: VNode[] = [];
  stream.publish_urls.forEach((url, index) => {
    if (key === undefined) {
      out.push(address(`${id}/publish/${index}`, t("publish_address"), url, view));
      return;
    }
    const fields = encoderFields(url, key);
    out.push(address(`${id}/full/${index}`, t("publish_address"), fields.full, view), address(`${id}/server/${index}`, t("encoder_server"), fields.server, view),
      address(`${id}/key/${index}`, t("encoder_key"), fields.streamKey, view));
  });
  if (stream.publish_urls.length) {
    const show = key === undefined;
    out.push(h("div", { class: "key-line", key: "key" },
      button(show ? t("show_key") : t("hide_key"), () => (show ? view.actions.showKey(id) : view.actions.hideKey(id)),
        { class: "small", disabled: view.busy.has(`${id}/key`), "aria-label": `${show ? t("show_key") : t("hide_key")}: ${stream.name}` }),
      h("span", { class: "quiet" }, t("show_key_hint"))));
  }
  if (stream.viewing === "signed") {
    const done = view.copied === `${id}/signed`;
    out.push(h("div", { class: "key-line", key: "signed" },
      button(done ? t("copied") : t("copy_signed"), () => view.actions.copySigned(id),
        { class: `small${done ? " done" : ""}`, disabled: view.busy.has(`${id}/sign`), "aria-label": `${done ? t("copied") : t("copy_signed")}: ${stream.name}` }),
      h("span", { class: "quiet" }, t("copy_signed_hint"))));
  } else if (stream.playback_url) out.push(address(`${id}/play`, t("play_address"), stream.playback_url, view));
  return out;
}

function taskItem(task: TaskStatus, view: View): VNode {
  const { t, lang } = view.words;
  const { progress, standby } = task;
  const started = time(progress.since) > 0 && ["starting", "running", "stopping"].includes(task.phase);
  const retry = ["backing_off", "crash_looping", "failed"].includes(task.phase);
  return h("li", { class: "task", key: task.id, id: `task-${task.id}` },
    h("div", { class: "card-head" },
      h("div", { class: "card-title" }, h("h5", null, taskName(task)), task.name && task.name !== task.type && h("code", { class: "quiet" }, task.type)),
      task.enabled ? phaseChip(task.phase, view.words) : chip("idle", t("disabled"))),
    task.reason && h("p", { class: "quiet" }, task.reason),
    standby?.reason && standby.phase !== "running" && h("p", { class: "quiet" }, t(standby.node ? "standby_reason" : "no_standby", { reason: standby.reason })),
    h("dl", { class: "facts" },
      task.node && fact(t("node"), task.node),
      standby?.node && fact(t("standby"), [standby.node, " ", phaseChip(standby.phase, view.words)]),
      task.needs.length > 0 && fact(t("needs"), task.needs.join(", ")),
      started && fact(t("speed"), `${number(progress.speed, lang, 2)}×`),
      started && progress.fps > 0 && fact(t("fps"), number(progress.fps, lang, 1)),
      started && bitsOf(progress.bitrate) > 0 && fact(t("bitrate"), bitRate(progress.bitrate, lang)),
      started && progress.dropped_frames > 0 && fact(t("dropped"), number(progress.dropped_frames, lang)),
      fact(t("attempts"), number(task.attempts, lang)),
      task.epoch > 0 && fact(t("epoch"), String(task.epoch))),
    task.last_error && h("p", { class: `error-line ${retry ? "now" : "past"}` }, h("strong", null, `${t("last_error")}: `), task.last_error),
    task.last_cause !== "none" && task.last_cause !== "requested" && h("p", { class: "quiet" }, t("last_cause", { cause: task.last_cause.replaceAll("_", " ") })),
    h("div", { class: "task-foot" },
      task.log_tail.length > 0 && h("details", null, h("summary", null, t("log_tail", { n: task.log_tail.length })), h("pre", { tabindex: 0 }, task.log_tail.join("\n"))),
      h("div", { class: "buttons" },
        retry && task.enabled && button(t("retry"), () => view.actions.retryTask(task.id), { class: "small primary", disabled: view.busy.has(task.id) }),
        button(t("change"), () => view.actions.openChangeTask(task.id), { class: "small", "aria-label": `${t("change")}: ${taskName(task)}` }),
        button(task.enabled ? t("disable") : t("enable"), () => view.actions.toggleTask(task.id),
          { class: "small", disabled: view.busy.has(task.id), "aria-label": `${task.enabled ? t("disable") : t("enable")}: ${taskName(task)}` }))));
}
