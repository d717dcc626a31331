// A photo whose colours are taken.

import { forget, upload } from "./api.js";
import { $, acceptDrops, announce, clear, complain } from "./page.js";

export class Reference {
  constructor(state) {
    this.state = state;
    $("reference-choose").addEventListener("click", () => $("reference-file").click());
    $("reference-file").addEventListener("change", () => {
      const [file] = $("reference-file").files;
      $("reference-file").value = "";
      if (file) this.take(file);
    });
    $("transfer").addEventListener("change", () => state.change({ transfer: $("transfer").value }));
    $("reference-remove").addEventListener("click", () => {
      state.change({ reference: null });
      $("reference-choose").focus();
    });
    state.addEventListener("change", () => this.show());
    acceptDrops($("reference-choose").closest("fieldset"), ([file]) => file && this.take(file));
  }

  async take(file) {
    const { photo } = this.state;
    try {
      const { photo: reference } = await upload(file, this.state.info);
      if (this.state.photo !== photo) return void forget(reference);
      clear($("reference-image"));
      $("reference-image").src = URL.createObjectURL(file);
      $("reference-name").textContent = file.name;
      this.state.change({ reference, transfer: $("transfer").value });
      announce(`Colours of ${file.name} are used`);
    } catch (error) {
      complain(error);
    }
  }

  show() {
    const { reference, transfer } = this.state.controls;
    if (this.shown && this.shown !== reference) forget(this.shown);
    this.shown = reference;
    $("reference").hidden = !reference;
    $("transfer").value = this.state.info.histograms ? transfer : "quantile";
  }
}
