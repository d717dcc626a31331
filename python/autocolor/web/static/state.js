// The open photo, its controls, and who wants to know when they change.

export class State extends EventTarget {
  photo = null; // {photo, name, height, width, colored}
  info = null;
  controls = State.fresh();

  static fresh() {
    return { strength: null, hue: 0, lean: 0, hints: [], reference: null, transfer: "energy" };
  }

  open(photo) {
    this.photo = photo;
    this.controls = State.fresh();
    this.dispatchEvent(new Event("open"));
  }

  // `what` names the part that changed, for those that show it.
  change(values, what = "controls") {
    this.controls = { ...this.controls, ...values };
    this.dispatchEvent(new CustomEvent("change", { detail: what }));
  }

  reset() {
    this.controls = State.fresh();
    this.dispatchEvent(new CustomEvent("change", { detail: "all" }));
  }
}
