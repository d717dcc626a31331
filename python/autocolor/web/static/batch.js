// Many photos, with the same settings or with their own.

import { call, cancel, follow, forget, picture, save, upload } from "./api.js";
import { $, acceptDrops, announce, complain, disable, element } from "./page.js";
import { FIRST_LEAN, showHue } from "./sliders.js";

const FINAL = ["done", "failed", "cancelled"];
const AT_ONCE = 3; // so that an upload goes on while the network runs
const THUMBNAIL = 160 * 120; // pixels

// The three sliders of some settings: those of all photos, or of one.
class Settings {
  constructor(root, changed = () => {}) {
    this.root = root;
    this.part("hue").addEventListener("input", () => {
      // A hue without any lean would do nothing, and seem broken.
      if (!Number(this.part("lean").value)) this.part("lean").value = FIRST_LEAN;
    });
    root.addEventListener("input", () => {
      this.show();
      changed();
    });
  }

  part(name) {
    return this.root.querySelector(`[data-part="${name}"]`);
  }

  get values() {
    const lean = Number(this.part("lean").value);
    return { strength: Number(this.part("strength").value), hue: lean ? this.part("hue").value / 360 : 0, lean };
  }

  set values({ strength, hue, lean }) {
    this.part("strength").value = strength;
    this.part("lean").value = lean;
    if (lean) this.part("hue").value = Math.round(hue * 360) % 360;
    this.show();
  }

  show() {
    const { strength, lean } = this.values;
    this.part("strength-value").textContent = strength.toFixed(2);
    this.part("lean-value").textContent = lean ? lean.toFixed(1) : "off";
    showHue(this.part("hue"), this.part("hue-value"), lean);
  }
}

export class Batch {
  constructor(state) {
    this.state = state;
    this.items = [];
    this.made = 0;
    this.settings = new Settings($("batch-settings"));
    $("batch-choose").addEventListener("click", () => $("batch-file").click());
    $("batch-file").addEventListener("change", () => {
      this.add([...$("batch-file").files]);
      $("batch-file").value = "";
    });
    acceptDrops($("panel-batch"), (files) => this.add(files));
    $("batch-start").addEventListener("click", () => this.start());
    $("batch-cancel").addEventListener("click", () => this.items.forEach((item) => this.stop(item)));
    $("batch-zip").addEventListener("click", () => this.pack());
    $("batch-clear").addEventListener("click", () => this.clear());
  }

  ready() {
    this.settings.values = { strength: this.state.info.strength, hue: 0, lean: 0 };
  }

  add(files) {
    for (const file of files) {
      const item = { file, state: "waiting", error: "", photo: null, job: null, own: null, pictures: 1 };
      this.build(item);
      this.items.push(item);
      this.show(item);
    }
    this.summarise();
  }

  build(item) {
    const { name } = item.file;
    const thumbnail = element("img", { alt: "", className: "thumbnail", loading: "lazy", src: URL.createObjectURL(item.file) });
    thumbnail.addEventListener("load", () => URL.revokeObjectURL(thumbnail.src));
    thumbnail.addEventListener("error", () => thumbnail.classList.add("none")); // a TIFF, in most browsers
    item.thumbnail = thumbnail;
    // The same sliders as those of all.
    const sliders = $("batch-settings").cloneNode(true);
    this.made += 1;
    for (const part of sliders.querySelectorAll("[id], [for]")) {
      for (const key of ["id", "for"]) {
        if (part.hasAttribute(key)) part.setAttribute(key, `${part.getAttribute(key)}-${this.made}`);
      }
    }
    sliders.removeAttribute("id");
    const settings = new Settings(sliders, () => {
      item.own = settings.values;
      this.again(item);
    });
    const same = element("button", { type: "button", className: "quiet", textContent: "Same as all" });
    same.setAttribute("aria-label", `Same settings as all for ${name}`);
    same.addEventListener("click", () => {
      item.own = null;
      settings.values = this.settings.values;
      this.again(item);
    });
    item.summary = element("summary");
    item.summary.setAttribute("aria-label", `Settings of ${name}`);
    const details = element("details", {}, item.summary, sliders, same);
    details.addEventListener("toggle", () => {
      if (details.open && !item.own) settings.values = this.settings.values;
    });
    item.details = details;
    item.row = element("tr", {},
      element("td", {}, thumbnail),
      element("td", {}, element("span", { className: "file", textContent: name, title: name }), details),
      element("td"), element("td"));
    $("batch-rows").append(item.row);
  }

  // A photo whose settings change is to be colorized again.
  again(item) {
    if (FINAL.includes(item.state)) this.set(item, "waiting");
    else this.show(item);
  }

  set(item, state, error = "") {
    item.state = state;
    item.error = error;
    this.show(item);
    this.summarise();
  }

  show(item, progress = 0) {
    const [, , state, result] = item.row.children;
    item.summary.textContent = item.own ? "Own settings" : "Settings";
    item.details.hidden = ["uploading", "queued", "running"].includes(item.state);
    const text = { waiting: "waiting", uploading: "uploading", queued: "in the queue", running: "colorizing", done: item.pictures > 1 ? `done, first of ${item.pictures} pictures` : "done", cancelled: "cancelled", failed: item.error }[item.state];
    if (item.state === "running" && state.querySelector("progress")) {
      state.querySelector("progress").value = progress;
      return;
    }
    const focused = result.contains(document.activeElement);
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
    if (focused) (result.firstChild ?? item.summary).focus();
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
    disable("batch-start", count("waiting") === 0 || active > 0);
    $("batch-start").textContent = count("waiting") ? `Colorize ${count("waiting")}` : "Colorize";
    disable("batch-cancel", over === total);
    disable("batch-clear", total === 0 || active > 0);
    $("batch-zip").hidden = count("done") < 2 || active > 0;
  }

  async start() {
    const all = this.settings.values;
    const suffix = $("batch-format").value;
    const waiting = this.items.filter(({ state }) => state === "waiting");
    const lane = async () => {
      while (waiting.length) {
        const item = waiting.shift();
        await this.run(item, { controls: item.own ?? all, suffix });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    announce($("batch-summary").textContent);
  }

  async pack() {
    const jobs = this.items.flatMap(({ state, job }) => (state === "done" ? job : []));
    try {
      const { archive } = await call("POST", "/zip", { jobs });
      save(`api/zip/${archive}`);
    } catch (error) {
      complain(error);
    }
  }

  async run(item, body) {
    if (item.state !== "waiting") return;
    item.job = null;
    item.stop = new AbortController();
    const { signal } = item.stop;
    try {
      this.set(item, "uploading");
      item.photo ??= (await upload(item.file, this.state.info, signal)).photo;
      item.job = (await call("POST", `/photos/${item.photo}/download`, body)).job;
      const last = await follow(item.job, ({ state, progress }) => {
        if (FINAL.includes(state)) return;
        if (state === item.state) this.show(item, progress);
        else this.set(item, state);
      }, signal);
      item.pictures = last.result?.pictures ?? 1;
      this.set(item, last.state);
      if (last.state === "done") await this.showColors(item, body.controls);
    } catch (error) {
      if (signal.aborted) {
        if (item.job) cancel(item.job);
        this.set(item, "cancelled");
        return;
      }
      this.set(item, "failed", error.message);
      if (error.status === 0) complain(error);
    }
  }

  async showColors({ photo, thumbnail }, controls) {
    const blob = await picture("POST", `/photos/${photo}/preview`, { pixels: THUMBNAIL, controls });
    thumbnail.classList.remove("none");
    thumbnail.src = URL.createObjectURL(blob);
  }

  stop(item) {
    if (FINAL.includes(item.state)) return;
    if (item.state === "waiting") this.set(item, "cancelled");
    else item.stop.abort();
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
