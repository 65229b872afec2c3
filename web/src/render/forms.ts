// Forms and dialogs. Errors stand at their field: the server's problem pointers ("/name") are matched with the field's own.
import type { Problem } from "../api";
import type { Words } from "../i18n";
import { taskName } from "../state";
import type { JsonSchema, TaskStatus, TaskType, ViewingAccess } from "../types";
import { h, type Child, type VNode } from "./dom";
import { button } from "./parts";

export type Dialog =
  | { kind: "add-stream"; problem: Problem | null; busy: boolean }
  | { kind: "add-task"; stream: string; streamName: string; types: TaskType[]; type: string; problem: Problem | null; busy: boolean }
  | { kind: "change-task"; task: TaskStatus; problem: Problem | null; busy: boolean }
  | { kind: "confirm"; text: string; yes: string; run: () => void };

export interface FormActions {
  signIn(token: string): void;
  addStream(name: string, title: string, viewing: ViewingAccess): void;
  addTask(type: string, name: string, needs: string[], options: string): void;
  changeTask(name: string, needs: string[]): void;
  pickType(type: string): void;
  close(): void;
}

/** The problem's sentences for one field; "" takes what no field claims. */
function sentences(problem: Problem | null, pointer: string, claimed: string[]): string[] {
  if (!problem) return [];
  const mine = (p: string): boolean => p === pointer || p.startsWith(`${pointer}/`);
  if (pointer) return problem.errors.filter((e) => mine(e.pointer)).map((e) => (e.pointer === pointer ? e.detail : `${e.pointer.slice(pointer.length + 1)}: ${e.detail}`));
  const rest = problem.errors.filter((e) => !claimed.some((c) => e.pointer === c || e.pointer.startsWith(`${c}/`))).map((e) => `${e.pointer}: ${e.detail}`);
  return problem.errors.length ? rest : [problem.detail || problem.title || `HTTP ${problem.status}`];
}

interface Field {
  name: string;
  label: string;
  hint?: string;
  errors: string[];
}

/** A labelled control; the control is made by `control` with the attributes that tie it to its label, hint and errors. */
function labelled(field: Field, control: (props: Record<string, string | undefined>) => VNode): VNode {
  const id = `f-${field.name}`;
  const about = [field.hint && `${id}-hint`, field.errors.length && `${id}-error`].filter(Boolean).join(" ");
  return h("div", { class: "field", key: field.name },
    h("label", { for: id }, field.label),
    control({ id, name: field.name, "aria-describedby": about || undefined, "aria-invalid": field.errors.length ? "true" : undefined }),
    field.hint && h("p", { class: "quiet", id: `${id}-hint` }, field.hint),
    field.errors.length > 0 && h("p", { class: "field-error", id: `${id}-error`, role: "alert" }, field.errors.join("; ")));
}

const general = (errors: string[]): Child => errors.length > 0 && h("p", { class: "field-error", role: "alert", key: "general" }, errors.join("; "));

function submitted(run: (data: (name: string) => string) => void): (event: SubmitEvent) => void {
  return (event) => {
    event.preventDefault();
    const data = new FormData(event.currentTarget as HTMLFormElement);
    run((name) => String(data.get(name) ?? ""));
  };
}

export function signInForm(words: Words, error: string, busy: boolean, actions: FormActions): VNode {
  const { t } = words;
  return h("form", { class: "card sign-in", key: "sign-in", onsubmit: submitted((data) => actions.signIn(data("token").trim())), autocomplete: "off" },
    h("h2", null, t("sign_in")),
    labelled({ name: "token", label: t("token"), hint: t("token_hint"), errors: error ? [error] : [] }, (props) =>
      h("input", { ...props, type: "password", autocomplete: "current-password", spellcheck: "false", mounted: (e: HTMLElement) => e.focus() })),
    h("div", { class: "buttons" }, h("button", { type: "submit", class: "primary", disabled: busy }, t("sign_in"))));
}

export function dialogView(dialog: Dialog | null, words: Words, actions: FormActions): VNode | null {
  if (!dialog) return null;
  const { t } = words;
  const frame = (title: string, cssClass: string, body: VNode): VNode =>
    h("dialog", { class: cssClass, key: `dialog-${dialog.kind}`, "aria-labelledby": "h-dialog", mounted: (e: HTMLElement) => (e as HTMLDialogElement).showModal(), onclose: () => actions.close() },
      h("h2", { id: "h-dialog" }, title), body);
  const buttons = (yes: string, busy: boolean): VNode =>
    h("div", { class: "buttons end" }, button(t("cancel"), actions.close), h("button", { type: "submit", class: "primary", disabled: busy }, yes));

  if (dialog.kind === "confirm")
    return frame(dialog.yes, "narrow", h("form", { onsubmit: submitted(() => { actions.close(); dialog.run(); }) }, h("p", null, dialog.text), buttons(dialog.yes, false)));

  const { problem } = dialog;
  const text = (name: string, label: string, hint: string, pointer: string, extra: Record<string, string | boolean> = {}): VNode =>
    labelled({ name, label, hint, errors: sentences(problem, pointer, []) }, (props) => h("input", { ...props, type: "text", autocomplete: "off", spellcheck: "false", ...extra }));

  if (dialog.kind === "add-stream")
    return frame(t("add_stream"), "narrow", h("form", { onsubmit: submitted((data) => actions.addStream(data("name").trim(), data("title").trim(), data("viewing") === "signed" ? "signed" : "open")) },
      general(sentences(problem, "", ["/name", "/title", "/viewing"])),
      text("name", t("name"), t("name_hint"), "/name", { required: true, maxlength: "64" }),
      text("title", t("title"), t("title_hint"), "/title", { maxlength: "200" }),
      labelled({ name: "viewing", label: t("viewing"), hint: t("viewing_hint"), errors: sentences(problem, "/viewing", []) }, (props) =>
        h("select", props, h("option", { value: "open" }, t("viewing_open")), h("option", { value: "signed" }, t("viewing_signed")))),
      buttons(t("add"), dialog.busy)));

  const needs = (value: string): VNode => text("needs", t("needs_labels"), t("needs_hint"), "/needs", { value });
  if (dialog.kind === "change-task") {
    const { task } = dialog;
    const before = task.needs.join(" ");
    // What was not touched goes back as it came: a label may hold a comma.
    const wanted = (typed: string): string[] => (typed === before ? task.needs : labelsOf(typed));
    return frame(`${t("change")}: ${taskName(task)}`, "narrow", h("form", { onsubmit: submitted((data) => actions.changeTask(data("name").trim(), wanted(data("needs")))) },
      general(sentences(problem, "", ["/name", "/needs"])),
      text("name", t("name"), t("task_name_hint"), "/name", { maxlength: "100", value: task.name }),
      needs(before),
      buttons(t("change"), dialog.busy)));
  }

  const chosen = dialog.types.find((type) => type.name === dialog.type);
  return frame(`${t("add_task")}: ${dialog.streamName}`, "wide",
    h("form", { onsubmit: submitted((data) => actions.addTask(dialog.type, data("name").trim(), labelsOf(data("needs")), data("options"))) },
      general(sentences(problem, "", ["/type", "/name", "/needs", "/options"])),
      h("div", { class: "columns" },
        h("div", null,
          labelled({ name: "type", label: t("type"), hint: chosen?.summary ?? "", errors: sentences(problem, "/type", []) }, (props) =>
            h("select", { ...props, value: dialog.type, onchange: (event: Event) => actions.pickType((event.currentTarget as HTMLSelectElement).value) },
              dialog.types.map((type) => h("option", { value: type.name, key: type.name }, type.name)))),
          text("name", t("name"), t("task_name_hint"), "/name", { maxlength: "100" }),
          needs(""),
          labelled({ name: "options", label: t("options"), errors: sentences(problem, "/options", []) }, (props) =>
            h("textarea", { ...props, key: dialog.type, rows: "9", spellcheck: "false", mounted: (e: HTMLElement) => ((e as HTMLTextAreaElement).value = template(chosen?.schema)) }))),
        h("div", { class: "schema" }, h("h3", null, t("options_of", { type: dialog.type })), chosen ? schemaView(chosen.schema, words) : null)),
      buttons(t("add"), dialog.busy)));
}

/** "gpu, room=attic" → ["gpu", "room=attic"]. */
export const labelsOf = (text: string): string[] => text.split(/[\s,]+/).filter(Boolean);

/** What to start from: the options that must be given, empty. */
export function template(schema: JsonSchema | undefined): string {
  const entries = (schema?.required ?? []).map((name) => {
    const type = schema?.properties?.[name]?.type;
    return [name, schema?.properties?.[name]?.default ?? (type === "object" ? {} : type === "array" ? [] : type === "integer" || type === "number" ? 0 : type === "boolean" ? false : "")];
  });
  return entries.length ? JSON.stringify(Object.fromEntries(entries), null, 2) : "{}";
}

function limits(schema: JsonSchema): string {
  const range = (low: number | undefined, high: number | undefined): string => (low === undefined && high === undefined ? "" : `${low ?? "…"} – ${high ?? "…"}`);
  return schema.enum ? schema.enum.map(String).join(" | ") : range(schema.minimum, schema.maximum);
}

/** A schema's options as a list: name, type, bounds, default and sentence; nested ones beneath their parent. */
function schemaView(schema: JsonSchema, words: Words): VNode {
  const entries = Object.entries(schema.properties ?? {});
  if (entries.length === 0) return h("p", { class: "quiet" }, words.t("no_options"));
  return h("dl", null, entries.flatMap(([name, option]) => {
    const nested = option.properties ? option : option.items?.properties ? option.items : null;
    const notes = [
      [option.type ?? ""].flat().join(" | "), limits(option), schema.required?.includes(name) && words.t("required"),
      option.default !== undefined && words.t("default_is", { value: JSON.stringify(option.default) }),
    ].filter(Boolean).join(", ");
    return [h("dt", { key: `t-${name}` }, h("code", null, name), " ", h("span", { class: "quiet" }, notes)),
      h("dd", { key: `d-${name}` }, option.description ?? "", nested && schemaView(nested, words))];
  }));
}
