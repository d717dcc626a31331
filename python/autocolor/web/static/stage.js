// The photo on the screen: before and after, the map of uncertainty.

import { picture } from "./api.js";
import { $, clear, complain, show } from "./page.js";

export class Stage {
  constructor(state) {
    this.state = state;
    $("split").addEventListener("input", () => this.split());
    for (const input of document.getElementsByName("view")) {
      input.addEventListener("change", () => this.view(input.value));
    }
    for (const input of document.getElementsByName("side")) {
      input.addEventListener("change", () => this.side(input.value));
    }
    this.view("compare");
  }

  // Shows a photo that has been opened.
  async open() {
    const { photo } = this.state;
    for (const name of ["color", "before", "uncertainty"]) clear($(name));
    // A photo of one row or column would not be seen: it is drawn thicker.
    $("frame").style.setProperty("--ratio", Math.min(10, Math.max(0.1, photo.width / photo.height)));
    $("photo-name").textContent = `${photo.name} · ${photo.width} × ${photo.height}`;
    $("several").hidden = photo.pictures === 1;
    $("several").textContent = `The file has ${photo.pictures} pictures; this is the first.`;
    document.querySelector('[name="side"][value="grey"]').checked = true;
    this.choose("compare");
    $("split").value = 50;
    this.split();
    await this.side("grey");
  }

  choose(view) {
    document.querySelector(`[name="view"][value="${view}"]`).checked = true;
    this.view(view);
  }

  split() {
    const part = Number($("split").value);
    $("frame").style.setProperty("--split", `${part}%`);
    $("split").setAttribute("aria-valuetext", `${Math.round(part)} % before`);
  }

  async view(view) {
    $("frame").dataset.view = view;
    $("uncertainty").hidden = view !== "uncertainty";
    $("legend").hidden = view !== "uncertainty";
    $("sides").hidden = view !== "compare" || !this.state.photo?.colored;
    if (view === "uncertainty" && !$("uncertainty").hasAttribute("src")) {
      await this.fetch("uncertainty", "uncertainty");
    }
  }

  async side(side) {
    $("badge-before").textContent = side === "grey" ? "Grey" : "Original";
    await this.fetch("before", side);
  }

  async fetch(image, kind) {
    const { photo } = this.state;
    try {
      const blob = await picture("GET", `/photos/${photo.photo}/${kind}`);
      if (this.state.photo === photo) await show($(image), blob);
    } catch (error) {
      complain(error);
    }
  }
}
