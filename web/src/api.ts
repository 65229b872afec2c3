// Requests to the API. The session is an HttpOnly cookie that no script sees; writes carry a header that a foreign page cannot send.
import type { PublicStream, TaskStatus, TaskType, ViewingAccess } from "./types";

/** RFC 9457, with the member `errors` that names fields of the request's body. */
export interface Problem {
  status: number;
  code: string;
  title: string;
  detail: string;
  errors: { pointer: string; detail: string }[];
}

export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail || problem.title || `HTTP ${problem.status}`);
  }
}

async function problemOf(answer: Response): Promise<Problem> {
  const empty: Problem = { status: answer.status, code: "", title: answer.statusText, detail: "", errors: [] };
  if (!(answer.headers.get("Content-Type") ?? "").includes("json")) return empty;
  const body = (await answer.json().catch(() => ({}))) as Partial<Problem>;
  return { ...empty, ...body, status: answer.status, errors: Array.isArray(body.errors) ? body.errors : [] };
}

async function request<T>(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
  const init: RequestInit = { method, headers: { Accept: "application/json", ...headers }, credentials: "same-origin", cache: "no-store" };
  const extra = init.headers as Record<string, string>;
  if (method !== "GET") extra["X-Weir-Request"] = "1";
  if (body !== undefined) {
    extra["Content-Type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  let answer: Response;
  try {
    answer = await fetch(path, init);
  } catch (error) {
    throw new ApiError({ status: 0, code: "unreachable", title: "", detail: error instanceof Error ? error.message : String(error), errors: [] });
  }
  if (!answer.ok) throw new ApiError(await problemOf(answer));
  return (answer.status === 204 || answer.headers.get("Content-Length") === "0" ? undefined : await answer.json()) as T;
}

const at = (id: string): string => encodeURIComponent(id);
const ifMatch = (revision: number): Record<string, string> => ({ "If-Match": `"${revision}"` });
const once = (): Record<string, string> => ({ "Idempotency-Key": `"${crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`}"` });

export const signIn = (token: string): Promise<void> => request("POST", "/api/v1/session", { token });
export const signOut = (): Promise<void> => request("DELETE", "/api/v1/session");
export const streamKey = (id: string): Promise<{ key: string }> => request("GET", `/api/v1/streams/${at(id)}/key`);
export const addStream = (spec: { name: string; title: string; viewing: ViewingAccess }): Promise<void> => request("POST", "/api/v1/streams", spec, once());
export const enableStream = (id: string, enabled: boolean, revision: number): Promise<void> =>
  request("PATCH", `/api/v1/streams/${at(id)}`, { enabled }, ifMatch(revision));
/** A signed address, good for eight hours. */
export const signViewing = (id: string): Promise<{ token: string; playback_url: string }> => request("POST", `/api/v1/streams/${at(id)}/viewing-tokens`, { lifetime: "8h" });
export const addTask = (stream: string, spec: { type: string; name: string; needs: string[]; options: unknown; enabled: boolean }): Promise<void> =>
  request("POST", `/api/v1/streams/${at(stream)}/tasks`, spec, once());
export const changeTask = (id: string, change: Partial<Pick<TaskStatus, "enabled" | "name" | "needs">>, revision: number): Promise<void> =>
  request("PATCH", `/api/v1/tasks/${at(id)}`, change, ifMatch(revision));
export const retryTask = (id: string): Promise<void> => request("POST", `/api/v1/tasks/${at(id)}/retry`);
export const taskTypes = (): Promise<TaskType[]> => request("GET", "/api/v1/task-types");
export const publicStream = (name: string): Promise<PublicStream> => request("GET", `/api/v1/public/streams/${at(name)}`);
