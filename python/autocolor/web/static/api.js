// Requests to the server.

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function request(method, path, body) {
  const options = { method };
  if (body instanceof Blob) {
    options.body = body;
    options.headers = { "Content-Type": "application/octet-stream" };
  } else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json" };
  }
  let response;
  try {
    response = await fetch(`api${path}`, options);
  } catch {
    throw new ApiError("The server does not answer. Is autocolor serve still running?", 0);
  }
  if (!response.ok) {
    const content = await response.json().catch(() => ({}));
    throw new ApiError(content.error ?? `The server answered with status ${response.status}.`, response.status);
  }
  return response;
}

export async function call(method, path, body) {
  const response = await request(method, path, body);
  return response.status === 204 ? null : response.json();
}

export async function picture(method, path, body) {
  return (await request(method, path, body)).blob();
}

// Refuses at once what the server would; it checks again.
export async function upload(file, info) {
  if (file.size > info.megabytes * 1e6) {
    const size = Math.ceil(file.size / 1e6);
    throw new ApiError(`${file.name}: ${size} MB, but at most ${info.megabytes} MB are taken.`, 413);
  }
  return call("POST", `/photos?name=${encodeURIComponent(file.name)}`, file);
}

// Also ends its jobs; goes out even when the page is being left.
export const forget = (photo) =>
  fetch(`api/photos/${photo}`, { method: "DELETE", keepalive: true }).catch(() => {});

export const cancel = (job) => call("DELETE", `/jobs/${job}`).catch(() => {});

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Waits for a job. Returns its last state: done or cancelled; throws if it failed.
export async function follow(job, progress = () => {}) {
  for (let wait = 60; ; wait = Math.min(wait * 1.5, 400)) {
    const state = await call("GET", `/jobs/${job}`);
    progress(state);
    if (state.state === "failed") throw new ApiError(state.error, 422);
    if (state.state === "done" || state.state === "cancelled") return state;
    await pause(wait);
  }
}

export function save(url) {
  const link = document.createElement("a");
  link.href = url;
  link.download = "";
  link.click();
}
