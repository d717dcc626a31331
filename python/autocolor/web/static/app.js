// Puts the page together: tabs, opening a photo, keys.

import { call, cancel, follow, forget, upload } from "./api.js";
import { Batch } from "./batch.js";
import { Download } from "./download.js";
import { Hints } from "./hints.js";
import { $, acceptDrops, announce, complain, hush } from "./page.js";
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
new Reference(state);
new Preview(state);
const download = new Download(state);
const batch = new Batch(state);
let opening = null;

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

async function open(file) {
  if (!file || opening) return;
  hush();
  const old = state.photo;
  opening = { photo: null, job: null };
  busy(`Opening ${file.name}…`);
  try {
    const { photo, name } = await upload(file, state.info);
    opening.photo = photo;
    try {
      ({ job: opening.job } = await call("POST", `/photos/${photo}/open`));
      busy("The network looks at the photo…");
      const last = await follow(opening.job);
      if (last.state === "cancelled") {
        forget(photo);
        return announce("Cancelled");
      }
      state.open({ photo, name, ...last.result });
      if (old) forget(old.photo);
      $("empty").hidden = true;
      $("workspace").hidden = false;
      await stage.open();
      state.reset();
      variations.fetch();
      announce(`${name} is colorized`);
    } catch (error) {
      forget(photo);
      throw error;
    }
  } catch (error) {
    complain(error);
  } finally {
    opening = null;
    $("busy").hidden = true;
    $("frame").setAttribute("aria-busy", "false");
  }
}

function busy(text) {
  announce(text);
  $("busy-text").textContent = text;
  $("busy").hidden = false;
  $("frame").setAttribute("aria-busy", "true");
}

$("busy-cancel").addEventListener("click", () => opening?.job && cancel(opening.job));
for (const id of ["choose", "another"]) $(id).addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  $("file").value = "";
  open(file);
});
acceptDrops($("panel-photo"), ([file]) => open(file));
document.addEventListener("paste", ({ clipboardData }) => {
  const [file] = clipboardData.files;
  if (file && !$("panel-photo").hidden) open(file);
});
$("reset").addEventListener("click", () => state.reset());

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
  const { photo, controls } = state;
  for (const left of [photo?.photo, opening?.photo, controls.reference, ...batch.photos()]) {
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
  batch.ready();
  document.body.dataset.ready = "true";
} catch (error) {
  complain(error);
}
