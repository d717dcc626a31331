// Puts the page together: tabs, opening a photo, keys.

import { call, follow, forget, upload } from "./api.js";
import { Batch } from "./batch.js";
import { Download } from "./download.js";
import { Hints } from "./hints.js";
import * as link from "./link.js";
import { $, acceptDrops, announce, complain, disable, hush } from "./page.js";
import { Preview } from "./preview.js";
import { Reference } from "./reference.js";
import { Sliders } from "./sliders.js";
import { Stage } from "./stage.js";
import { State } from "./state.js";
import { Variations } from "./variations.js";

const state = new State();
const stage = new Stage(state);
const variations = new Variations(state);
new Sliders(state);
const hints = new Hints(state);
const reference = new Reference(state);
new Preview(state);
const download = new Download(state);
const batch = new Batch(state);
let addressing = 0;
let opening = null; // {stop: AbortController, photo}

// ---- tabs

const tabs = ["photo", "batch"];

function choose(name, focus = false) {
  for (const other of tabs) {
    const selected = other === name;
    $(`tab-${other}`).setAttribute("aria-selected", String(selected));
    $(`tab-${other}`).tabIndex = selected ? 0 : -1;
    $(`panel-${other}`).hidden = !selected;
  }
  if (focus) $(`tab-${name}`).focus();
}

for (const name of tabs) {
  $(`tab-${name}`).addEventListener("click", () => choose(name));
  $(`tab-${name}`).addEventListener("keydown", ({ key }) => {
    if (key === "ArrowLeft" || key === "ArrowRight") choose(tabs[1 - tabs.indexOf(name)], true);
  });
}

// ---- opening a photo

const STAGES = [[0.3, "Reading the photo…"], [0.9, "Looking for likely colours…"], [2, "Almost there…"]];

// One file is opened here; several go to the batch.
function take(files) {
  if (files.length > 1) {
    choose("batch", true);
    batch.add(files);
    announce(`${files.length} photos were added to the batch`);
  } else if (files.length) {
    open(files[0]);
  }
}

async function open(file) {
  if (opening) return;
  hush();
  const old = state.photo;
  const stop = new AbortController();
  const { signal } = stop;
  opening = { stop, photo: null };
  const began = document.activeElement;
  busy(`Sending ${file.name}…`, 0);
  $("busy-cancel").focus();
  let opened = false;
  try {
    const { photo, name } = await upload(file, state.info, signal, (part) => busy(`Sending ${file.name}…`, part));
    opening.photo = photo;
    const { job } = await call("POST", `/photos/${photo}/open`, undefined, signal);
    const last = await follow(job, ({ state: at, progress }) => {
      if (at === "queued") busy("Waiting for other photos…", 0);
      else busy(STAGES.find(([part]) => progress < part)[1], progress);
    }, signal);
    if (last.state === "cancelled") stop.abort();
    signal.throwIfAborted();
    $("empty").hidden = true;
    $("workspace").hidden = false;
    state.open({ photo, name, ...last.result });
    opened = true;
    if (old) forget(old.photo);
    announce(`${name} is opened`); // the preview says when its colours are there
    await stage.open();
    variations.fetch();
  } catch (error) {
    if (opening.photo && !opened) forget(opening.photo);
    if (signal.aborted) announce("Cancelled");
    else complain(error);
  } finally {
    opening = null;
    $("busy").hidden = true;
    $("frame").setAttribute("aria-busy", "false");
    if (opened) $("split").focus();
    else (began === document.body ? $(state.photo ? "another" : "choose") : began).focus();
  }
}

function busy(text, progress) {
  if ($("busy-text").textContent !== text || $("busy").hidden) announce(text);
  $("busy-text").textContent = text;
  $("busy-bar").value = progress;
  $("busy").hidden = false;
  $("frame").setAttribute("aria-busy", "true");
}

$("busy-cancel").addEventListener("click", () => opening?.stop.abort());
for (const id of ["choose", "another"]) $(id).addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  const files = [...$("file").files];
  $("file").value = "";
  take(files);
});
acceptDrops($("panel-photo"), take);
document.addEventListener("paste", ({ clipboardData }) => {
  if (!$("panel-photo").hidden) take([...clipboardData.files]);
});
$("reset").addEventListener("click", () => state.reset());

// ---- back and forth, and a link to the settings

$("undo").addEventListener("click", () => state.go(-1));
$("redo").addEventListener("click", () => state.go(1));
state.addEventListener("change", () => {
  for (const [id, by] of [["undo", -1], ["redo", 1]]) disable(id, !state.canGo(by));
  // Browsers take few changes of the address a second.
  clearTimeout(addressing);
  addressing = setTimeout(writeAddress, 300);
});

function writeAddress() {
  history.replaceState(null, "", location.pathname + link.write(state.controls));
}

document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || !state.photo || $("panel-photo").hidden) return;
  const key = event.key.toLowerCase();
  if (key !== "z" && key !== "y") return;
  event.preventDefault();
  state.go(key === "y" || event.shiftKey ? 1 : -1);
});
$("copy-link").addEventListener("click", async () => {
  try {
    writeAddress();
    await navigator.clipboard.writeText(location.href);
    announce("The link was copied");
    $("copy-link").textContent = "Copied";
    setTimeout(() => ($("copy-link").textContent = "Copy link"), 2000);
  } catch {
    complain("The browser does not let this page copy; the address bar has the link.");
  }
});
addEventListener("hashchange", () => {
  const found = link.read(location.hash, state.info);
  if (state.photo) state.change({ ...State.fresh(), ...found }, "all");
  else preset(found);
});

function preset(found) {
  state.preset = found;
  $("preset").hidden = !Object.keys(found).length;
}

// ---- keys on the photo, and only there: elsewhere they belong to the screen reader or the field

$("frame").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const actions = {
    c: () => stage.choose("compare"),
    v: () => stage.choose("color"),
    u: () => state.info.histograms && stage.choose("uncertainty"),
    h: () => {
      if (!state.info.histograms) return;
      hints.toggle();
      ($("hint-layer").hidden ? $("split") : $("hint-layer")).focus();
    },
    d: () => download.run(),
  };
  const action = actions[event.key.toLowerCase()];
  if (action) {
    event.preventDefault();
    action();
  }
});

// ---- leaving: nothing stays behind, so there is nothing to come back to

addEventListener("pagehide", () => {
  for (const left of [state.photo?.photo, opening?.photo, ...reference.photos(), ...batch.photos()]) {
    if (left) forget(left);
  }
});
addEventListener("pageshow", ({ persisted }) => persisted && location.reload());

// ---- help and messages

$("help-open").addEventListener("click", () => $("help").showModal());
$("help-close").addEventListener("click", () => $("help").close());
$("alert-close").addEventListener("click", hush);

try {
  state.info = await call("GET", "/info");
  const { model, megabytes, megapixels, histograms } = state.info;
  $("model").textContent = `model ${model}`;
  $("limits").textContent = `Up to ${megabytes} MB and ${megapixels} megapixels.`;
  if (!histograms) for (const part of document.querySelectorAll("[data-histograms]")) part.hidden = true;
  preset(link.read(location.hash, state.info));
  batch.ready();
  document.body.dataset.ready = "true";
} catch (error) {
  complain(error);
}
