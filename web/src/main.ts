// The dashboard: follows GET /api/v1/live, keeps the model, draws the page, sends what people ask for.
import * as api from "./api";
import { pickLanguage, words, type Lang } from "./i18n";
import { patch } from "./render/dom";
import { page, type Desk, type PageActions } from "./render/page";
import { follow, type SseMessage } from "./sse";
import { initial, reduce, taskName, type Action } from "./state";
import type { ClusterState, WeirEvent } from "./types";

const root = document.getElementById("app") as HTMLElement;
const chosenKey = "weir-language";

let model = initial;
const busy = new Set<string>();
const keys = new Map<string, string>();
const desk: Desk = { words: words(pickLanguage(localStorage.getItem(chosenKey), navigator.languages)), dialog: null, busy, keys, copied: "", toast: "", signInError: "" };
let stop = (): void => undefined;
let drawn = 0;

/** Draws once per frame, however many things changed; a page in the background draws when it is seen again. */
function draw(): void {
  if (!drawn) drawn = requestAnimationFrame(() => {
    drawn = 0;
    document.documentElement.lang = desk.words.lang;
    patch(root, page(model, desk, actions, Date.now()));
  });
}

function apply(action: Action): void {
  model = reduce(model, action);
  draw();
}

function onMessage(message: SseMessage): void {
  if (message.event === "state") apply({ type: "state", state: JSON.parse(message.data) as ClusterState, at: Date.now() });
  else if (message.event === "event") apply({ type: "event", event: JSON.parse(message.data) as WeirEvent });
}

function connect(): void {
  stop();
  stop = follow({
    url: "/api/v1/live",
    onOpen: () => apply({ type: "opened" }),
    onMessage,
    onLost: (retryAt) => apply({ type: "lost", retryAt }),
    onUnauthorised: signedOut,
  });
}

function signedOut(): void {
  stop();
  keys.clear();
  desk.dialog = null;
  apply({ type: "unauthorised" });
}

function explain(problem: api.Problem): string {
  const { t } = desk.words;
  if (problem.status === 0) return t("unreachable");
  if (problem.status === 412) return t("changed_meanwhile");
  return t("failed", { detail: [problem.detail || problem.title || `HTTP ${problem.status}`, ...problem.errors.map((e) => `${e.pointer}: ${e.detail}`)].join(" ") });
}

/** Runs a request while the buttons named `id` wait. A problem goes to `onProblem`, or is shown at the foot of the page. */
async function during(id: string, work: () => Promise<void>, onProblem?: (problem: api.Problem) => void): Promise<void> {
  busy.add(id);
  desk.toast = "";
  draw();
  try {
    await work();
  } catch (error) {
    if (!(error instanceof api.ApiError)) throw error;
    if (error.problem.status === 401 && id !== "sign-in") signedOut();
    else if (onProblem) onProblem(error.problem);
    else desk.toast = explain(error.problem);
  } finally {
    busy.delete(id);
    draw();
  }
}

/** Sends the open dialog's form; closes it when done, else shows the problem at its fields. */
function submit(work: () => Promise<void>): void {
  const dialog = desk.dialog;
  if (!dialog || dialog.kind === "confirm" || dialog.busy) return;
  dialog.busy = true;
  void during("dialog", async () => {
    await work();
    if (desk.dialog === dialog) desk.dialog = null;
  }, (problem) => {
    dialog.busy = false;
    // The next attempt is about what is there now; a field that somebody else changed shows it.
    if (problem.status === 412 && dialog.kind === "change-task") dialog.task = taskOf(dialog.task.id) ?? dialog.task;
    dialog.problem = problem.status === 0 || problem.status === 412 ? { ...problem, detail: explain(problem) } : problem;
  });
}

const streamOf = (id: string) => model.cluster?.streams.find((s) => s.id === id);
const taskOf = (id: string) => model.cluster?.tasks.find((task) => task.id === id);

function ask(text: string, run: () => void): void {
  desk.dialog = { kind: "confirm", text, yes: desk.words.t("disable"), run };
  draw();
}

async function toClipboard(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Pages over plain HTTP have no clipboard interface: copy from a field, as people do.
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "off-screen";
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

const actions: PageActions = {
  language(lang: Lang) {
    localStorage.setItem(chosenKey, lang);
    desk.words = words(lang);
    draw();
  },
  signIn(token) {
    desk.signInError = token ? "" : desk.words.t("token_missing");
    if (!token) return draw();
    void during("sign-in", async () => {
      await api.signIn(token);
      apply({ type: "signing-in" });
      connect();
    }, (problem) => (desk.signInError = problem.status === 401 || problem.status === 403 ? desk.words.t("token_wrong") : explain(problem)));
  },
  signOut() {
    void during("sign-out", async () => {
      await api.signOut();
      signedOut();
    });
  },
  copy(id, text) {
    void toClipboard(text).then(() => {
      desk.copied = id;
      draw();
      setTimeout(() => {
        if (desk.copied === id) desk.copied = "";
        draw();
      }, 2000);
    });
  },
  copySigned(id) {
    void during(`${id}/sign`, async () => actions.copy(`${id}/signed`, (await api.signViewing(id)).playback_url));
  },
  watchSigned(id) {
    void during(`${id}/sign`, async () => {
      const { token } = await api.signViewing(id);
      location.assign(`/watch/${encodeURIComponent(streamOf(id)?.name ?? "")}#token=${encodeURIComponent(token)}`);
    });
  },
  showKey(stream) {
    void during(`${stream}/key`, async () => {
      keys.set(stream, (await api.streamKey(stream)).key);
    });
  },
  hideKey(stream) {
    keys.delete(stream);
    draw();
  },
  toggleStream(id) {
    const stream = streamOf(id);
    if (!stream) return;
    const { enabled, name, revision } = stream;
    const run = (): void => void during(id, () => api.enableStream(id, !enabled, revision));
    if (enabled && stream.phase !== "offline") ask(desk.words.t("confirm_disable_stream", { name }), run);
    else run();
  },
  toggleTask(id) {
    const task = taskOf(id);
    if (!task) return;
    const { enabled, revision, stream_id } = task;
    const run = (): void => void during(id, () => api.changeTask(id, { enabled: !enabled }, revision));
    if (enabled && task.phase === "running") ask(desk.words.t("confirm_disable_task", { name: taskName(task), stream: streamOf(stream_id)?.name ?? stream_id }), run);
    else run();
  },
  retryTask: (id) => void during(id, () => api.retryTask(id)),
  openAddStream() {
    desk.dialog = { kind: "add-stream", problem: null, busy: false };
    draw();
  },
  openAddTask(stream) {
    void during(stream, async () => {
      const types = await api.taskTypes();
      desk.dialog = { kind: "add-task", stream, streamName: streamOf(stream)?.name ?? stream, types, type: types[0]?.name ?? "", problem: null, busy: false };
    });
  },
  openChangeTask(id) {
    const task = taskOf(id);
    if (task) desk.dialog = { kind: "change-task", task, problem: null, busy: false };
    draw();
  },
  pickType(type) {
    if (desk.dialog?.kind === "add-task") desk.dialog = { ...desk.dialog, type, problem: null };
    draw();
  },
  addStream: (name, title, viewing) => submit(() => api.addStream({ name, title, viewing })),
  addTask(type, name, needs, text) {
    const dialog = desk.dialog;
    if (dialog?.kind !== "add-task") return;
    let options: unknown;
    try {
      options = JSON.parse(text || "{}");
    } catch (error) {
      const detail = desk.words.t("bad_json", { detail: error instanceof Error ? error.message : String(error) });
      dialog.problem = { status: 0, code: "", title: "", detail: "", errors: [{ pointer: "/options", detail }] };
      return draw();
    }
    submit(() => api.addTask(dialog.stream, { type, name, needs, options, enabled: true }));
  },
  changeTask(name, needs) {
    const dialog = desk.dialog;
    if (dialog?.kind !== "change-task") return;
    const { id, revision } = dialog.task;
    submit(() => api.changeTask(id, { name, needs }, revision));
  },
  close() {
    desk.dialog = null;
    draw();
  },
  closeToast() {
    desk.toast = "";
    draw();
  },
};

setInterval(draw, 1000); // durations and the age of the data
connect();
draw();
