/* A card for each input of a model: how it is fed, and with what. */

import { choice, make } from "./elements.js";
import { camera, microphone, pictureOf, soundOf } from "./media.js";

const KINDS = {
  sample: "sample", text: "text", picture: "picture", sound: "sound", random: "random", zeros: "zeros",
  file: "file", hand: "by hand",
};

const MOST_SIDE = 640; // of a picture for an input that takes any size, until the user says more

export class Input {
  /** `described`: as the engine describes it; `fail(error)` shows an error, `changed()` runs again. */
  constructor(described, fail, changed) {
    Object.assign(this, { described, fail, changed, given: {}, stop: null });
    this.body = make("div");
    this.notes = make("p", { class: "note" });
    this.element = make("fieldset", { class: "input" }, make("legend", {}, described.text),
      choice(`how ${described.name} is fed`, described.kinds.map(kind => [kind, KINDS[kind]]),
        described.kinds[0], kind => this.choose(kind)),
      this.body, this.notes);
    this.choose(described.kinds[0]);
  }

  choose(kind) {
    this.stop?.();
    this.stop = null;
    this.kind = kind;
    this.given = {};
    this.notes.textContent = "";
    this.body.replaceChildren(...[this[kind]()].flat());
  }

  /** What the engine's `_feed` reads; throws what is still missing. */
  settings() {
    const missing = { picture: "a picture", sound: "a sound", file: "a file" }[this.kind];
    if (missing && !this.given.blob) throw new Error(`input ${this.described.name}: choose ${missing} first`);
    const { image, ...given } = this.given;
    return { kind: this.kind, ...given };
  }

  tell(notes, origin) {
    this.notes.textContent = [origin, ...notes].filter(Boolean).join("; ");
  }

  /** Do something that may fail, and show why it did. */
  trying(action) {
    return async event => {
      try {
        await action(event);
      } catch (error) {
        this.fail(error);
      }
    };
  }

  sample() {
    const { samples, titles } = this.described;
    this.given = { number: 0 };
    const number = make("input", { type: "number", min: 0, max: samples - 1, value: 0, required: "",
      "aria-label": `sample, 0 to ${samples - 1}` });
    const title = make("q", { hidden: !titles && "" });
    const show = () => {
      this.given.number = Math.min(Math.max(Math.round(+number.value) || 0, 0), samples - 1);
      title.textContent = titles ? titles[this.given.number] : "";
    };
    number.addEventListener("input", show);
    show();
    return [make("label", { class: "row" }, "sample ", number, ` of ${samples} `, make("button", { type: "button",
      onclick: () => { number.value = (this.given.number + 1) % samples; show(); this.changed(); } }, "next")), title];
  }

  text() {
    this.given = { text: "" };
    const area = make("textarea", { rows: 3, "aria-label": "text", placeholder: "a text" });
    area.addEventListener("input", () => { this.given.text = area.value; });
    return area;
  }

  random() {
    this.given = { seed: 0 };
    const seed = make("input", { type: "number", min: 0, value: 0, "aria-label": "seed" });
    seed.addEventListener("input", () => { this.given.seed = Math.max(0, Math.round(+seed.value) || 0); });
    return [make("label", { class: "row" }, "seed ", seed), ...this.shape()];
  }

  zeros() {
    return this.shape();
  }

  /** A field for the shape; one that isn't changed follows the other inputs. */
  shape() {
    const { shape } = this.described;
    const field = make("input", { type: "text", value: (shape || []).join(" × "), "aria-label": "shape",
      spellcheck: "false" });
    field.addEventListener("change", this.trying(() => {
      const sizes = field.value.split(/[^0-9]+/).filter(Boolean).map(Number);
      if (shape && sizes.length !== shape.length)
        throw new Error(`input ${this.described.name}: ${shape.length} sizes are needed, as in ${shape.join(" × ")}`);
      this.given.shape = sizes;
    }));
    return [make("label", { class: "row" }, "shape ", field)];
  }

  picture() {
    const [width, height] = this.described.picture;
    const preview = make("canvas", { class: "preview", hidden: "", role: "img", "aria-label": "the picture" });
    const video = make("video", { class: "preview", hidden: "", muted: "", playsinline: "", "aria-label": "the camera" });
    const options = { range: "model", bgr: false, crop: false };
    const side = (key, title) => make("input", { type: "number", min: 1, max: 4096, "aria-label": title,
      oninput: event => set(key, +event.target.value || null) });
    const wide = width === null ? side("wide", "width") : null, high = height === null ? side("high", "height") : null;
    const sizes = wide || high ? make("label", { class: "row", hidden: "" }, "resized to ", wide ?? String(width),
      " × ", high ?? String(height)) : null;
    const take = picture => {
      // Most networks that take any size halve it five times.
      const scale = Math.min(1, MOST_SIDE / Math.max(picture.width, picture.height));
      for (const [field, key, length] of [[wide, "wide", picture.width], [high, "high", picture.height]])
        if (field) options[key] = field.value = Math.max(32, Math.round(length * scale / 32) * 32);
      if (sizes) sizes.hidden = false;
      this.given = { ...picture, ...options };
      Object.assign(preview, { width: picture.width, height: picture.height, hidden: false });
      preview.getContext("2d").putImageData(picture.image, 0, 0);
      this.notes.textContent = `${picture.name}, ${picture.width} × ${picture.height}`;
    };
    const file = make("input", { type: "file", accept: "image/*", "aria-label": "a picture" });
    file.addEventListener("change", this.trying(async () => take(await pictureOf(file.files[0]))));
    const shoot = make("button", { type: "button", onclick: this.trying(async () => {
      if (!this.stop) {
        const device = await camera(video);
        video.hidden = false;
        shoot.textContent = "take the picture";
        this.stop = () => { device.stop(); video.hidden = true; shoot.textContent = "camera"; this.stop = null; };
        this.take = device.take;
        return;
      }
      take(this.take());
      this.stop();
    }) }, "camera");
    const set = (name, value) => {
      options[name] = value;
      if (this.given.blob) this.given[name] = value;
    };
    const range = make("select", { "aria-label": "range of the pixels",
      onchange: event => set("range", event.target.value) },
    ...["model", "0 to 1", "0 to 255", "-1 to 1", "ImageNet"].map(value =>
      make("option", { value }, value === "model" ? "as the model says" : value)));
    const box = (name, text) => make("label", {}, make("input", { type: "checkbox",
      onchange: event => set(name, event.target.checked) }), ` ${text}`);
    const size = [width, height].map(side => side ?? "any").join(" × ");
    return [make("p", { class: "row" }, file, shoot), video, preview, ...(sizes ? [sizes] : []),
      make("details", {}, make("summary", {}, `how pixels become numbers (${size})`),
        make("label", { class: "row" }, "range ", range), box("bgr", "blue first"), " ",
        box("crop", "cut out the middle, not stretched"))];
  }

  sound() {
    const rate = make("input", { type: "number", min: 3000, max: 96000, value: 16000, "aria-label": "samples a second" });
    const player = make("audio", { controls: "", hidden: "" });
    let source = null;
    const take = async found => {
      source = found;
      this.given = await soundOf(found, +rate.value);
      player.src = URL.createObjectURL(found);
      player.hidden = false;
      this.notes.textContent = `${this.given.name}, ${this.given.seconds.toFixed(2)} s`;
    };
    rate.addEventListener("change", this.trying(async () => { if (source) await take(source); }));
    const file = make("input", { type: "file", accept: "audio/*,video/webm", "aria-label": "a sound" });
    file.addEventListener("change", this.trying(() => take(file.files[0])));
    let device = null;
    const record = make("button", { type: "button", onclick: this.trying(async () => {
      if (!device) {
        device = await microphone();
        record.textContent = "end the recording";
        this.stop = () => { device?.stop(); device = null; };
        return;
      }
      const recorded = device;
      device = null;
      record.textContent = "microphone";
      await take(await recorded.stop());
    }) }, "microphone");
    return [make("p", { class: "row" }, file, record), make("label", { class: "row" }, rate, " samples a second"), player];
  }

  file() {
    const file = make("input", { type: "file", "aria-label": "a file of values",
      accept: ".npy,.npz,.csv,.tsv,.json,.jsonl" });
    const row = make("input", { type: "number", min: 0, value: 0, "aria-label": "row" });
    const every = make("input", { type: "checkbox" });
    const set = () => { this.given.row = every.checked ? null : Math.max(0, Math.round(+row.value) || 0); };
    file.addEventListener("change", () => {
      this.given = { blob: file.files[0], file: file.files[0].name };
      set();
    });
    row.addEventListener("input", set);
    every.addEventListener("change", () => { row.disabled = every.checked; set(); });
    return [make("p", {}, file), make("p", { class: "note" }, ".npy, .npz, .csv, .tsv, .json or .jsonl"),
      make("p", { class: "row" }, make("label", {}, "row ", row), " ", make("label", {}, every, " all rows at once"))];
  }

  hand() {
    const { shape } = this.described;
    const example = (shape || [1]).reduceRight((inner, size) => Array(Math.min(size, 3)).fill(inner), 0);
    const area = make("textarea", { rows: 4, spellcheck: "false", "aria-label": "values as JSON",
      placeholder: `lists, as in ${JSON.stringify(example).slice(0, 80)}` });
    area.addEventListener("input", () => { this.given = { blob: new Blob([area.value]), file: "values.json" }; });
    this.given = { blob: new Blob([""]), file: "values.json" };
    return area;
  }
}
