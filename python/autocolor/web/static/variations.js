// The strip of diverse colorizations; choosing one sets the hue that colours lean towards.

import { call } from "./api.js";
import { $, complain, element, hueColor, hueName } from "./page.js";

const REST = 600; // milliseconds

export class Variations {
  constructor(state) {
    this.state = state;
    this.timer = 0;
    $("count").addEventListener("change", () => this.fetch());
    // A lean chooses among them and does not change them.
    state.addEventListener("change", ({ detail }) => {
      if (detail === "lean") this.mark();
      else this.later();
    });
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.fetch(), REST);
  }

  async fetch() {
    clearTimeout(this.timer);
    const { photo, controls, info } = this.state;
    if (!photo || !info.histograms) return;
    const body = { count: Number($("count").value), rotation: 0, controls };
    try {
      const { variations } = await call("POST", `/photos/${photo.photo}/variations`, body);
      if (this.state.photo === photo) this.build(variations);
    } catch (error) {
      complain(error);
    }
  }

  build(variations) {
    const focused = $("strip").contains(document.activeElement) ? document.activeElement.value : null;
    const labels = variations.map(({ hue, lean, image }, index) => {
      const input = element("input", { type: "radio", name: "variation", value: index });
      input.dataset.hue = hue;
      input.dataset.lean = lean;
      input.addEventListener("change", () => this.state.change({ hue, lean }, "lean"));
      const caption = element("span");
      if (lean) {
        const dot = element("span", { className: "dot" });
        dot.style.background = hueColor(hue);
        caption.append(dot, hueName(hue));
      } else {
        caption.append("automatic");
      }
      return element("label", {}, input, element("img", { src: image, alt: "" }), caption);
    });
    $("strip").replaceChildren(...labels);
    this.mark();
    if (focused !== null) $("strip").querySelector(`input[value="${focused}"]`)?.focus();
  }

  mark() {
    const { hue, lean } = this.state.controls;
    for (const input of document.getElementsByName("variation")) {
      const same = Math.abs(input.dataset.hue - hue) < 0.002 || lean === 0;
      input.checked = same && Number(input.dataset.lean) === lean;
    }
  }
}
