// Colour hints: placed with a click, or with the arrow keys and Enter.

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

export class Hints {
  constructor(state) {
    this.state = state;
    this.x = 0.5;
    this.y = 0.5;
    this.buildSwatches();
    $("hint-mode").addEventListener("click", () => this.toggle());
    $("hint-color").addEventListener("input", () => this.other());
    $("hint-layer").addEventListener("click", (event) => this.click(event));
    $("hint-layer").addEventListener("keydown", (event) => this.key(event));
    state.addEventListener("open", () => this.toggle(false));
    state.addEventListener("change", () => this.show());
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

  click(event) {
    const box = $("hint-layer").getBoundingClientRect();
    this.x = (event.clientX - box.left) / box.width;
    this.y = (event.clientY - box.top) / box.height;
    this.move(0, 0);
    this.place();
  }

  key(event) {
    const step = event.shiftKey ? 0.1 : 0.01;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (moves[event.key]) {
      this.move(...moves[event.key]);
      announce(`${percent(this.x)} from the left, ${percent(this.y)} from the top`);
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
    this.x = Math.min(1, Math.max(0, this.x + x));
    this.y = Math.min(1, Math.max(0, this.y + y));
    $("cross").style.left = `${this.x * 100}%`;
    $("cross").style.top = `${this.y * 100}%`;
  }

  place() {
    const { hints } = this.state.controls;
    if (hints.length >= this.state.info.most_hints) {
      complain(`At most ${this.state.info.most_hints} hints: remove one first.`);
      return;
    }
    const hint = { x: this.x, y: this.y, color: $("hint-color").value };
    this.state.change({ hints: [...hints, hint] }, "hints");
    announce(`Hint ${hints.length + 1} placed`);
  }

  show() {
    const { hints } = this.state.controls;
    const marks = hints.map(({ x, y, color }, index) => {
      const mark = element("i", { textContent: index + 1 });
      mark.style.left = `${x * 100}%`;
      mark.style.top = `${y * 100}%`;
      mark.style.background = color;
      mark.style.color = dark(color) ? "#fff" : "#111";
      return mark;
    });
    $("hint-marks").replaceChildren(...marks);
    const items = hints.map(({ x, y, color }, index) => {
      const dot = element("i");
      dot.style.background = color;
      const remove = element("button", { type: "button", className: "quiet", textContent: "Remove" });
      remove.setAttribute("aria-label", `Remove hint ${index + 1}`);
      remove.addEventListener("click", () => {
        this.state.change({ hints: this.state.controls.hints.filter((_, other) => other !== index) }, "hints");
        ($("hints").querySelector("button") ?? $("hint-mode")).focus();
      });
      return element("li", {}, dot, `${index + 1}: ${percent(x)}, ${percent(y)}`, remove);
    });
    $("hints").replaceChildren(...items);
  }
}

const percent = (part) => `${Math.round(part * 100)} %`;

function dark(color) {
  const value = parseInt(color.slice(1), 16);
  return (value >> 16) * 0.3 + ((value >> 8) & 255) * 0.6 + (value & 255) * 0.1 < 140;
}
