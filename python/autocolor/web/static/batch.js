// Many photos with the same settings.

import { call, cancel, follow, forget, upload } from "./api.js";
import { $, acceptDrops, announce, complain, element } from "./page.js";

const FINAL = ["done", "failed", "cancelled"];
const AT_ONCE = 3; // so that an upload goes on while the network runs

export class Batch {
  constructor(state) {
    this.state = state;
    this.items = [];
    $("batch-choose").addEventListener("click", () => $("batch-file").click());
    $("batch-file").addEventListener("change", () => {
      this.add([...$("batch-file").files]);
      $("batch-file").value = "";
    });
    acceptDrops($("panel-batch"), (files) => this.add(files));
    $("batch-start").addEventListener("click", () => this.start());
    $("batch-cancel").addEventListener("click", () => this.items.forEach((item) => this.stop(item)));
    $("batch-clear").addEventListener("click", () => this.clear());
    $("batch-strength").addEventListener("input", () => this.showStrength());
  }

  ready() {
    $("batch-strength").value = this.state.info.strength;
    this.showStrength();
  }

  showStrength() {
    $("batch-strength-value").textContent = Number($("batch-strength").value).toFixed(2);
  }

  add(files) {
    for (const file of files) {
      const item = { file, state: "waiting", error: "", photo: null, job: null };
      item.row = element("tr", {}, element("td", { textContent: file.name }), element("td"), element("td"));
      $("batch-rows").append(item.row);
      this.items.push(item);
      this.show(item);
    }
    this.summarise();
  }

  set(item, state, error = "") {
    item.state = state;
    item.error = error;
    this.show(item);
    this.summarise();
  }

  show(item, progress = 0) {
    const [, state, result] = item.row.children;
    const text = { waiting: "waiting", uploading: "uploading", queued: "in the queue", running: "colorizing", done: "done", cancelled: "cancelled", failed: item.error }[item.state];
    if (item.state === "running" && state.querySelector("progress")) {
      state.querySelector("progress").value = progress;
      return;
    }
    state.replaceChildren(element("span", { textContent: text, className: item.state }));
    result.replaceChildren();
    if (item.state === "running") {
      const bar = element("progress", { max: 1, value: progress });
      bar.setAttribute("aria-label", item.file.name);
      state.append(bar);
    }
    if (item.state === "done") {
      const link = element("a", { href: `api/jobs/${item.job}/file`, download: "", textContent: "Download" });
      link.setAttribute("aria-label", `Download ${item.file.name}`);
      result.append(link);
    } else if (!FINAL.includes(item.state)) {
      const button = element("button", { type: "button", className: "quiet", textContent: "Cancel" });
      button.setAttribute("aria-label", `Cancel ${item.file.name}`);
      button.addEventListener("click", () => this.stop(item));
      result.append(button);
    }
  }

  summarise() {
    const count = (...states) => this.items.filter(({ state }) => states.includes(state)).length;
    const total = this.items.length;
    const over = count(...FINAL);
    const active = count("uploading", "queued", "running");
    $("batch-table").hidden = total === 0;
    $("batch-overall").hidden = total === 0;
    $("batch-bar").value = total ? over / total : 0;
    $("batch-summary").textContent = `${count("done")} of ${total} colorized` +
      (count("failed") ? `, ${count("failed")} failed` : "") +
      (count("cancelled") ? `, ${count("cancelled")} cancelled` : "");
    $("batch-start").disabled = count("waiting") === 0 || active > 0;
    $("batch-start").textContent = count("waiting") ? `Colorize ${count("waiting")}` : "Colorize";
    $("batch-cancel").disabled = over === total;
    $("batch-clear").disabled = total === 0 || active > 0;
    const done = this.items.filter(({ state }) => state === "done");
    $("batch-zip").hidden = done.length < 2 || active > 0;
    $("batch-zip").href = `api/zip?${done.map(({ job }) => `job=${job}`).join("&")}`;
  }

  async start() {
    const body = { controls: { strength: Number($("batch-strength").value) }, suffix: $("batch-format").value };
    const waiting = this.items.filter(({ state }) => state === "waiting");
    const lane = async () => {
      while (waiting.length) await this.run(waiting.shift(), body);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    announce($("batch-summary").textContent);
  }

  async run(item, body) {
    if (item.state !== "waiting") return;
    try {
      this.set(item, "uploading");
      item.photo = (await upload(item.file, this.state.info)).photo;
      if (item.state === "cancelled") return void forget(item.photo);
      item.job = (await call("POST", `/photos/${item.photo}/download`, body)).job;
      const last = await follow(item.job, ({ state, progress }) => {
        if (FINAL.includes(state)) return;
        if (state === item.state) this.show(item, progress);
        else this.set(item, state);
      });
      this.set(item, last.state);
    } catch (error) {
      this.set(item, "failed", error.message);
      if (error.status === 0) complain(error);
    }
  }

  stop(item) {
    if (FINAL.includes(item.state)) return;
    if (item.job) cancel(item.job);
    else this.set(item, "cancelled");
  }

  photos() {
    return this.items.flatMap(({ photo }) => photo ?? []);
  }

  clear() {
    for (const photo of this.photos()) forget(photo);
    this.items = [];
    $("batch-rows").replaceChildren();
    this.summarise();
    $("batch-choose").focus();
  }
}
