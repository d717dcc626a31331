// Strength, and the hue that colours lean towards.

import { $, hueName } from "./page.js";

const FIRST_LEAN = 1.5; // as of the variations

export class Sliders {
  constructor(state) {
    this.state = state;
    $("strength").addEventListener("input", () => state.change({ strength: Number($("strength").value) }));
    $("hue").addEventListener("input", () => {
      // A hue without any lean would do nothing, and seem broken.
      const lean = state.controls.lean || FIRST_LEAN;
      state.change({ hue: $("hue").value / 360, lean }, "lean");
    });
    $("lean").addEventListener("input", () => {
      state.change({ hue: $("hue").value / 360, lean: Number($("lean").value) }, "lean");
    });
    state.addEventListener("change", () => this.show());
  }

  show() {
    const { controls, info } = this.state;
    const automatic = controls.reference && controls.transfer === "energy" ? 1 : info.strength;
    $("strength").value = controls.strength ?? automatic;
    $("strength-value").textContent = Number($("strength").value).toFixed(2);
    $("lean").value = controls.lean;
    $("lean-value").textContent = controls.lean ? controls.lean.toFixed(1) : "off";
    if (controls.lean) $("hue").value = Math.round(controls.hue * 360) % 360;
    const turns = $("hue").value / 360;
    $("hue-value").textContent = controls.lean ? `${$("hue").value}° ${hueName(turns)}` : "–";
    $("hue").setAttribute("aria-valuetext", `${$("hue").value} degrees, ${hueName(turns)}`);
  }
}
