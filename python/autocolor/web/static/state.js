// The open photo, its controls with their history, and who wants to know when they change.

const TOGETHER = 700; // milliseconds within which changes of one control are one step back

export class State extends EventTarget {
  photo = null; // {photo, name, height, width, colored}
  info = null;
  preset = {}; // of a link, for the next photo
  controls = State.fresh();
  steps = [];
  place = 0; // in the steps, of the controls
  last = { what: "", time: 0 };

  static fresh() {
    return { look: null, strength: null, hue: 0, lean: 0, hints: [], reference: null, transfer: "energy" };
  }

  open(photo) {
    this.photo = photo;
    this.controls = { ...State.fresh(), ...this.preset };
    this.preset = {};
    this.steps = [this.controls];
    this.place = 0;
    this.dispatchEvent(new Event("open"));
    this.tell("all");
  }

  // `what` names the part that changed, for those that show it.
  change(values, what = Object.keys(values).join()) {
    const time = performance.now();
    const same = what === this.last.what && time - this.last.time < TOGETHER && this.place > 0;
    this.last = { what, time };
    this.controls = { ...this.controls, ...values };
    if (!same) this.place += 1;
    this.steps.length = this.place;
    this.steps.push(this.controls);
    this.tell(what);
  }

  reset() {
    this.change(State.fresh(), "all");
  }

  canGo(by) {
    return this.steps[this.place + by] !== undefined;
  }

  // Undoes (-1) or does again (+1).
  go(by) {
    if (!this.canGo(by)) return;
    this.place += by;
    this.controls = this.steps[this.place];
    this.last.what = "";
    this.tell("all");
  }

  tell(what) {
    this.dispatchEvent(new CustomEvent("change", { detail: what }));
  }
}
