// The colorization at full size.

import { call, cancel, follow, save } from "./api.js";
import { $, announce, complain, disable } from "./page.js";

export class Download {
  constructor(state) {
    this.state = state;
    this.job = null;
    $("download").addEventListener("click", () => this.run());
    $("download-cancel").addEventListener("click", () => this.job && cancel(this.job));
    state.addEventListener("open", () => {
      const { width, height } = state.photo;
      $("download").textContent = `Download ${width} × ${height}`;
    });
  }

  async run() {
    if (this.job) return;
    const { photo, controls } = this.state;
    try {
      const body = { controls, suffix: $("format").value };
      ({ job: this.job } = await call("POST", `/photos/${photo.photo}/download`, body));
      disable("download", true);
      $("download-progress").hidden = false;
      $("download-bar").value = 0;
      const last = await follow(this.job, ({ progress }) => ($("download-bar").value = progress));
      if (last.state === "done") {
        save(`api/jobs/${this.job}/file`);
        announce("The download is ready");
      } else {
        announce("The download was cancelled");
      }
    } catch (error) {
      complain(error);
    } finally {
      this.job = null;
      disable("download", false);
      if ($("download-progress").contains(document.activeElement)) $("download").focus();
      $("download-progress").hidden = true;
    }
  }
}
