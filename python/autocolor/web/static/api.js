// Requests to the server.

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const failure = (status, content) =>
  new ApiError(content?.error ?? `The server answered with status ${status}.`, status);
const silence = () => new ApiError("The server does not answer. Is autocolor serve still running?", 0);

async function request(method, path, body, signal) {
  const options = { method, signal };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json" };
  }
  let response;
  try {
    response = await fetch(`api${path}`, options);
  } catch {
    signal?.throwIfAborted();
    throw silence();
  }
  if (!response.ok) throw failure(response.status, await response.json().catch(() => null));
  return response;
}

export async function call(method, path, body, signal) {
  const response = await request(method, path, body, signal);
  return response.status === 204 ? null : response.json();
}

export async function picture(method, path, body) {
  return (await request(method, path, body)).blob();
}

// Refuses at once what the server would; it checks again. Not with fetch, which tells no progress.
export function upload(file, info, signal, progress = () => {}) {
  return new Promise((resolve, reject) => {
    if (file.size > info.megabytes * 1e6) {
      const size = Math.ceil(file.size / 1e6);
      throw new ApiError(`${file.name}: ${size} MB, but at most ${info.megabytes} MB are taken.`, 413);
    }
    const sending = new XMLHttpRequest();
    sending.open("POST", `api/photos?name=${encodeURIComponent(file.name.toWellFormed())}`);
    sending.responseType = "json";
    sending.setRequestHeader("Content-Type", "application/octet-stream");
    sending.upload.addEventListener("progress", ({ loaded, total }) => progress(loaded / total));
    sending.addEventListener("load", () => {
      const { status, response } = sending;
      if (status === 201) resolve(response);
      else reject(failure(status, response));
    });
    sending.addEventListener("error", () => reject(silence()));
    sending.addEventListener("abort", () => reject(signal.reason));
    signal?.addEventListener("abort", () => sending.abort());
    sending.send(file);
  });
}

// Also ends its jobs; goes out even when the page is being left.
export const forget = (photo) =>
  fetch(`api/photos/${photo}`, { method: "DELETE", keepalive: true }).catch(() => {});

export const cancel = (job) => call("DELETE", `/jobs/${job}`).catch(() => {});

const pause = (milliseconds, signal) =>
  new Promise((resolve, reject) => {
    setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => reject(signal.reason));
  });

// Waits for a job. Returns its last state: done or cancelled; throws if it failed.
export async function follow(job, progress = () => {}, signal = undefined) {
  for (let wait = 60; ; wait = Math.min(wait * 1.5, 400)) {
    const state = await call("GET", `/jobs/${job}`, undefined, signal);
    progress(state);
    if (state.state === "failed") throw new ApiError(state.error, 422);
    if (state.state === "done" || state.state === "cancelled") return state;
    await pause(wait, signal);
  }
}

export function save(url) {
  const link = document.createElement("a");
  link.href = url;
  link.download = "";
  link.click();
}
