// Colour hints: placed with a click or with the arrow keys and Enter; then dragged, resized, removed.

import { call } from "./api.js";
import { $, announce, complain, element } from "./page.js";

const COLORS = [
  ["#d9a88c", "skin"],
  ["#8f5a3c", "brown"],
  ["#b5523b", "brick red"],
  ["#c9a24b", "straw yellow"],
  ["#5d8a45", "grass green"],
  ["#4f8fc7", "sky blue"],
  ["#3b4f86", "denim blue"],
  ["#8a5f96", "violet"],
  ["#8c8c8c", "grey"],
];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const LARGER = 1.25; // a step of the size

const within = (value) => Math.min(1, Math.max(0, value));
const percent = (part) => `${Math.round(part * 100)} %`;
const place = ({ x, y }) => `${percent(x)} from the left, ${percent(y)} from the top`;

export class Hints {
  constructor(state) {
    this.state = state;
    this.x = 0.5;
    this.y = 0.5;
    this.selected = -1; // the hint whose likely colours are shown
    this.marks = [];
    this.buildSwatches();
    $("hint-mode").addEventListener("click", () => this.toggle());
    $("hint-color").addEventListener("input", () => this.other());
    $("hint-layer").addEventListener("click", (event) => this.click(event));
    $("hint-layer").addEventListener("keydown", (event) => this.layerKey(event));
    state.addEventListener("open", () => {
      this.select(-1);
      this.toggle(false);
    });
    state.addEventListener("change", () => this.show());
  }

  get hints() {
    return this.state.controls.hints;
  }

  buildSwatches() {
    const labels = COLORS.map(([color, name], index) => {
      const input = element("input", { type: "radio", name: "swatch", value: color, checked: index === 2 });
      input.setAttribute("aria-label", name);
      input.addEventListener("change", () => {
        $("hint-color").value = color;
        this.toggle(true);
      });
      const dot = element("i", { title: name });
      dot.style.background = color;
      return element("label", {}, input, dot);
    });
    $("swatches").replaceChildren(...labels);
  }

  other() {
    for (const input of document.getElementsByName("swatch")) input.checked = false;
    this.toggle(true);
  }

  toggle(on = $("hint-layer").hidden) {
    $("hint-layer").hidden = !on;
    const layer = $("hint-layer");
    layer.tabIndex = 0;
    layer.setAttribute("role", "application");
    layer.setAttribute("aria-label", "Place a hint: arrow keys move the cross, Enter places the colour, Escape ends");
    $("hint-mode").setAttribute("aria-pressed", String(on));
    $("hint-mode").textContent = on ? "Click the photo…" : "Place hints";
    this.move(0, 0);
  }

  // ---- a new hint

  click(event) {
    [this.x, this.y] = this.at(event);
    this.move(0, 0);
    this.place();
  }

  at(event) {
    const box = $("hint-marks").getBoundingClientRect();
    return [within((event.clientX - box.left) / box.width), within((event.clientY - box.top) / box.height)];
  }

  layerKey(event) {
    if (ARROWS[event.key]) {
      const step = event.shiftKey ? 0.1 : 0.01;
      const [x, y] = ARROWS[event.key];
      this.move(x * step, y * step);
      announce(place(this));
    } else if (event.key === "Enter" || event.key === " ") {
      this.place();
    } else if (event.key === "Escape") {
      this.toggle(false);
      $("hint-mode").focus();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  move(x, y) {
    this.x = within(this.x + x);
    this.y = within(this.y + y);
    $("cross").style.left = `${this.x * 100}%`;
    $("cross").style.top = `${this.y * 100}%`;
  }

  place() {
    if (this.hints.length >= this.state.info.most_hints) {
      complain(`At most ${this.state.info.most_hints} hints: remove one first.`);
      return;
    }
    const hint = { x: this.x, y: this.y, color: $("hint-color").value };
    this.state.change({ hints: [...this.hints, hint] }, `hint added ${this.hints.length}`);
    announce(`Hint ${this.hints.length} placed`);
    this.select(this.hints.length - 1);
  }

  // ---- one that is there

  set(index, values, what) {
    const hints = this.hints.map((hint, other) => (other === index ? { ...hint, ...values } : hint));
    this.state.change({ hints }, `hint ${what} ${index}`);
  }

  remove(index) {
    this.select(-1);
    this.state.change({ hints: this.hints.filter((_, other) => other !== index) }, `hint removed ${index} ${this.hints.length}`);
    announce(`Hint ${index + 1} removed`);
    (this.marks[Math.min(index, this.marks.length - 1)]?.mark ?? $("hint-mode")).focus();
  }

  resize(index, factor) {
    const { hint_radius: usual, largest_radius: largest } = this.state.info;
    const radius = Math.min(largest, Math.max(usual / 2, (this.hints[index].radius ?? usual) * factor));
    this.set(index, { radius }, "size");
    announce(`Hint ${index + 1} is ${(radius * 200).toFixed(1)} % wide`);
  }

  markKey(event, index) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (ARROWS[event.key]) {
      const step = event.shiftKey ? 0.05 : 0.01;
      const [x, y] = ARROWS[event.key];
      const hint = this.hints[index];
      this.set(index, { x: within(hint.x + x * step), y: within(hint.y + y * step) }, "place");
      announce(place(this.hints[index]));
      this.likely();
    } else if (event.key === "+" || event.key === "=") {
      this.resize(index, LARGER);
    } else if (event.key === "-") {
      this.resize(index, 1 / LARGER);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.remove(index);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  drag(event, index) {
    const { mark } = this.marks[index];
    mark.setPointerCapture(event.pointerId);
    const moved = (moving) => {
      const [x, y] = this.at(moving);
      this.set(index, { x, y }, "place");
    };
    mark.addEventListener("pointermove", moved);
    const ended = () => {
      mark.removeEventListener("pointermove", moved);
      this.likely();
    };
    for (const name of ["pointerup", "pointercancel"]) mark.addEventListener(name, ended, { once: true });
  }

  build(index) {
    const mark = element("button", { type: "button", className: "mark" }, String(index + 1));
    mark.title = "Drag it; arrow keys move, + and − resize, Delete removes";
    mark.addEventListener("pointerdown", (event) => this.drag(event, index));
    mark.addEventListener("keydown", (event) => this.markKey(event, index));
    mark.addEventListener("focus", () => this.select(index));
    mark.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.resize(index, event.deltaY < 0 ? LARGER : 1 / LARGER);
    }, { passive: false });
    const ring = element("i", { className: "ring" });
    const color = element("input", { type: "color" });
    color.setAttribute("aria-label", `Colour of hint ${index + 1}`);
    color.addEventListener("input", () => this.set(index, { color: color.value }, "colour"));
    const text = element("span");
    const button = (label, name, act) => {
      const made = element("button", { type: "button", className: "quiet", textContent: label });
      made.setAttribute("aria-label", `${name} hint ${index + 1}`);
      made.addEventListener("click", act);
      return made;
    };
    const item = element("li", {}, color, text,
      button("−", "Shrink", () => this.resize(index, 1 / LARGER)),
      button("+", "Enlarge", () => this.resize(index, LARGER)),
      button("Remove", "Remove", () => this.remove(index)));
    $("hint-marks").append(ring, mark);
    $("hints").append(item);
    return { mark, ring, item, color, text };
  }

  // Marks stay the same elements, which have the focus or are being dragged.
  show() {
    while (this.marks.length > this.hints.length) {
      const { mark, ring, item } = this.marks.pop();
      for (const part of [mark, ring, item]) part.remove();
    }
    while (this.marks.length < this.hints.length) this.marks.push(this.build(this.marks.length));
    const { photo, info } = this.state;
    this.hints.forEach((hint, index) => {
      const { mark, ring, color, text } = this.marks[index];
      mark.setAttribute("aria-label", `Hint ${index + 1}, ${place(hint)}`);
      for (const part of [mark, ring]) {
        part.style.left = `${hint.x * 100}%`;
        part.style.top = `${hint.y * 100}%`;
      }
      mark.style.background = color.value = hint.color;
      mark.style.color = dark(hint.color) ? "#fff" : "#111";
      const larger = Math.max(photo.width, photo.height);
      ring.style.width = `${(200 * (hint.radius ?? info.hint_radius) * larger) / photo.width}%`;
      text.textContent = `${index + 1}: ${percent(hint.x)}, ${percent(hint.y)}`;
    });
    if (this.selected >= this.hints.length) this.select(-1);
  }

  // ---- what the model thinks likely there

  select(index) {
    if (index === this.selected) return;
    this.selected = index;
    $("likely").hidden = index < 0;
    if (index >= 0) this.likely();
  }

  async likely() {
    const { photo } = this.state;
    const index = this.selected;
    const hint = this.hints[index];
    if (!hint) return;
    try {
      const { colors } = await call("GET", `/photos/${photo.photo}/colors?x=${hint.x}&y=${hint.y}`);
      if (this.state.photo !== photo || this.selected !== index) return;
      $("likely-title").textContent = `Likely at hint ${index + 1}`;
      $("likely-colors").replaceChildren(...colors.map(({ color, share }) => {
        const button = element("button", { type: "button", className: "likely", value: color });
        button.style.background = color;
        button.style.color = dark(color) ? "#fff" : "#111";
        button.textContent = percent(share);
        button.setAttribute("aria-label", `Give hint ${index + 1} the colour ${color}, likely by ${percent(share)}`);
        button.addEventListener("click", () => {
          $("hint-color").value = color;
          this.set(index, { color }, "colour");
        });
        return button;
      }));
    } catch (error) {
      complain(error);
    }
  }
}

function dark(color) {
  const value = parseInt(color.slice(1), 16);
  return (value >> 16) * 0.3 + ((value >> 8) & 255) * 0.6 + (value & 255) * 0.1 < 140;
}
