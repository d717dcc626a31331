// Small helpers of the page.

export const $ = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Says something to screen readers only.
export function announce(text) {
  $("status").textContent = text;
}

let before = null; // what had the focus when a message came

export function complain(error) {
  const text = error instanceof Error ? error.message : String(error);
  if ($("alert").hidden) before = document.activeElement;
  $("alert").hidden = false;
  $("alert-text").textContent = text;
}

export function hush() {
  const focused = $("alert").contains(document.activeElement);
  $("alert").hidden = true;
  $("alert-text").textContent = "";
  if (focused) (before?.checkVisibility() && before !== document.body ? before : $("main")).focus();
}

// A button that is disabled loses the focus, and with it the place of a keyboard's user: these only say so.
export function disable(id, off) {
  $(id).setAttribute("aria-disabled", String(off));
}

document.addEventListener("click", (event) => {
  if (event.target.closest?.("[aria-disabled=true]")) event.stopImmediatePropagation();
}, true);

// Files dropped anywhere on `target`, which is marked while they are above it.
export function acceptDrops(target, take) {
  let depth = 0;
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  target.addEventListener("dragenter", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    depth += 1;
    target.classList.add("over");
  });
  target.addEventListener("dragover", (event) => {
    if (carries(event)) event.preventDefault();
  });
  target.addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (!depth) target.classList.remove("over");
  });
  target.addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    depth = 0;
    target.classList.remove("over");
    take([...event.dataTransfer.files]);
  });
}

// Shows a blob in an image once it is decoded, so that nothing flickers.
export async function show(image, blob) {
  const url = URL.createObjectURL(blob);
  const loaded = new Image();
  loaded.src = url;
  try {
    await loaded.decode();
  } catch {
    URL.revokeObjectURL(url);
    return;
  }
  const old = image.src;
  image.src = url;
  if (old.startsWith("blob:")) URL.revokeObjectURL(old);
}

export function clear(image) {
  if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
  image.removeAttribute("src");
}

const HUES = ["red", "orange", "yellow", "lime", "green", "mint", "cyan", "azure", "blue", "violet", "magenta", "rose"];

export const hueName = (turns) => HUES[Math.round(turns * 12) % 12];

export const hueColor = (turns) => `hsl(${Math.round(turns * 360)} 55% 55%)`;
