// Keeps the colorization on the screen up to date: one request at a time, always the newest controls;
// quick while they change, finer when they rest.

import { picture } from "./api.js";
import { $, announce, complain, show } from "./page.js";

const REST = 350; // milliseconds

export class Preview {
  constructor(state) {
    this.state = state;
    this.running = false;
    this.again = false;
    this.timer = 0;
    state.addEventListener("change", () => this.request());
  }

  request() {
    clearTimeout(this.timer);
    if (this.running) this.again = true;
    else this.run(this.state.info.quick_pixels);
  }

  async run(pixels) {
    const { photo, controls } = this.state;
    this.running = true;
    this.again = false;
    const started = performance.now();
    try {
      const blob = await picture("POST", `/photos/${photo.photo}/preview`, { pixels, controls });
      if (this.state.photo === photo) {
        await show($("color"), blob);
        const time = performance.now() - started;
        document.dispatchEvent(new CustomEvent("previewed", { detail: { pixels, time } }));
      }
    } catch (error) {
      if (this.state.photo === photo) complain(error);
      this.again = false;
      return;
    } finally {
      this.running = false;
    }
    if (this.again) this.run(this.state.info.quick_pixels);
    else this.rest(pixels);
  }

  rest(pixels) {
    const { photo, info } = this.state;
    const area = photo ? photo.width * photo.height : 0;
    const screen = $("frame").clientWidth * $("frame").clientHeight * devicePixelRatio ** 2;
    const wanted = Math.round(Math.min(area, screen, 1.6e6));
    if (pixels === info.quick_pixels && wanted > pixels * 1.2) {
      this.timer = setTimeout(() => this.run(wanted), REST);
    } else {
      announce("Colours updated");
    }
  }
}
