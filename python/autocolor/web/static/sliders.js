// The look, the strength, and the hue that colours lean towards.

import { $, hueName } from "./page.js";

export const FIRST_LEAN = 1.5; // as of the variations

export function showHue(slider, output, lean) {
  const name = hueName(slider.value / 360);
  output.textContent = Number(lean) ? `${slider.value}° ${name}` : "–";
  slider.setAttribute("aria-valuetext", `${slider.value} degrees, ${name}`);
}

export class Sliders {
  constructor(state) {
    this.state = state;
    $("look").addEventListener("change", () => state.change({ look: $("look").value }));
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
    $("looks").hidden = info.looks.length < 2;
    $("look").value = controls.look ?? info.looks[0];
    const automatic = controls.reference && controls.transfer === "energy" ? 1 : info.strength;
    $("strength").value = controls.strength ?? automatic;
    $("strength-value").textContent = Number($("strength").value).toFixed(2);
    $("lean").value = controls.lean;
    $("lean-value").textContent = controls.lean ? controls.lean.toFixed(1) : "off";
    if (controls.lean) $("hue").value = Math.round(controls.hue * 360) % 360;
    showHue($("hue"), $("hue-value"), controls.lean);
  }
}
