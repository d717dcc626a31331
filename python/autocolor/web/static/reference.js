// A photo whose colours are taken.

import { forget, picture, upload } from "./api.js";
import { $, acceptDrops, announce, complain } from "./page.js";

export class Reference {
  constructor(state) {
    this.state = state;
    this.taken = new Map(); // id to name and picture; kept, as one can go back to them
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
    state.addEventListener("open", () => this.forget());
    state.addEventListener("change", () => this.show());
    acceptDrops($("reference-choose").closest("fieldset"), ([file]) => file && this.take(file));
  }

  async take(file) {
    const { photo } = this.state;
    try {
      const { photo: reference } = await upload(file, this.state.info);
      // One that cannot be read would let every later preview fail.
      const body = { pixels: 1, controls: { reference, transfer: $("transfer").value } };
      try {
        await picture("POST", `/photos/${photo.photo}/preview`, body);
      } catch (error) {
        forget(reference);
        throw error;
      }
      if (this.state.photo !== photo) return void forget(reference);
      this.taken.set(reference, { name: file.name, url: URL.createObjectURL(file) });
      this.state.change({ reference, transfer: $("transfer").value });
      announce(`Colours of ${file.name} are used`);
    } catch (error) {
      complain(error);
    }
  }

  show() {
    const { reference, transfer } = this.state.controls;
    const { name, url } = this.taken.get(reference) ?? {};
    $("reference").hidden = !reference;
    if (url) {
      $("reference-image").src = url;
      $("reference-name").textContent = name;
    }
    $("transfer").value = this.state.info.histograms ? transfer : "quantile";
  }

  photos() {
    return [...this.taken.keys()];
  }

  forget() {
    for (const [photo, { url }] of this.taken) {
      forget(photo);
      URL.revokeObjectURL(url);
    }
    this.taken.clear();
  }
}
