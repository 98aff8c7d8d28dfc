"use strict";
/* Saliency: an overlay over the picture, words in colours, bars over steps; by class and method. */

const Saliency = (() => {
  const found = DATA.saliency || {};
  const entries = found.entries || [];
  const POSITIVE = [240, 138, 36], NEGATIVE = [47, 127, 196];
  const state = { method: entries.length ? Object.keys(found.methods).at(-1) : "", class: 0, strength: 85 };

  /** Whether an input has something to show; without any results it is the first input. */
  const has = name => entries.some(entry => entry.parts.some(part => part.input === name));

  const colourOf = (value, most) => {
    const share = Math.max(-1, Math.min(1, value / most));
    return [share > 0 ? POSITIVE : NEGATIVE, Math.abs(share)];
  };

  function choice(title, names, chosen, choose) {
    const row = make("div", { class: "choice", role: "group", "aria-label": title });
    names.forEach(([key, text, hint]) => row.append(make("button", {
      "aria-pressed": String(key === chosen), title: hint, "data-key": key, onclick: () => choose(key) }, ...[text].flat())));
    return row;
  }

  function shown(name) {
    const root = make("section", { class: "saliency", id: "saliency-section", tabindex: "-1" });
    function fill() {
      const pressed = root.contains(document.activeElement) ? document.activeElement.dataset.key : null;
      const within = pressed && document.activeElement.parentNode.getAttribute("aria-label");
      const entry = entries.find(e => e.method === state.method && e.class === state.class);
      root.replaceChildren(make("h3", {}, "Saliency: what moved the score"),
        choice("method", Object.entries(found.methods).map(([m, hint]) => [m, m, hint]), state.method,
          method => { state.method = method; fill(); }));
      root.append(choice("class", found.classes.map(([label, score], k) =>
        [k, [label, make("small", {}, ` ${number(score)}`)], `explain ${label}`]), state.class,
      k => { state.class = k; fill(); }));
      const [label] = found.classes[state.class];
      root.append(make("p", { class: "note" }, `${found.methods[state.method]}; scores: ${found.of}. `,
        make("b", { class: "raised" }, "Orange"), ` raised the score of ${label}, `,
        make("b", { class: "lowered" }, "blue"), " lowered it."));
      for (const part of entry.parts) if (part.input === name) root.append(...partOf(part));
      if (entry.error !== undefined)
        root.append(make("p", { class: "note completeness" }, `The sum is ${number(entry.difference + entry.error)}; the score is ` +
          `${number(entry.difference)} above that of the baseline (error ${number(entry.error)}).`));
      if (found.note) root.append(make("p", { class: "note" }, found.note));
      if (pressed) root.querySelector(`[aria-label="${within}"] [data-key="${pressed}"]`)?.focus();
    }
    fill();
    return root;
  }

  function partOf(part) {
    const parts = part.name === part.input ? [] : [make("p", { class: "note" }, `by ${part.part} of ${part.name}`)];
    if (part.data && found.pictures[part.input]) parts.push(...overlay(part, found.pictures[part.input]));
    else if (part.data) parts.push(...Values.shown({ view: { kind: "heat", n: 1, ...part } }).filter(Boolean));
    else if (part.words) parts.push(words(part));
    else parts.push(make("div", { class: "moved" },
      ...Values.bars(part.numbers, i => `${part.part} ${place(i, part.shape)}`)));
    return parts;
  }

  /** The indexes of the i-th element. */
  function place(i, shape) {
    const index = [];
    for (const size of [...shape].reverse()) {
      index.unshift(i % size);
      i = Math.floor(i / size);
    }
    return index.join(", ");
  }

  function overlay(part, picture) {
    const colours = bytesOf(picture.data), codes = bytesOf(part.data);
    const base = make("canvas", { width: picture.w, height: picture.h, role: "img", "aria-label": "picture" });
    const light = new ImageData(picture.w, picture.h);
    for (let i = 0; i < picture.h * picture.w; i++) {
      const mean = (colours[3 * i] + colours[3 * i + 1] + colours[3 * i + 2]) / 3;
      light.data.set([mean, mean, mean, 255], 4 * i);
    }
    base.getContext("2d").putImageData(light, 0, 0);
    const top = make("canvas", { width: part.w, height: part.h, role: "img", "aria-label": "saliency over the picture",
      class: part.kind === "map" ? "over smooth" : "over" });
    const image = new ImageData(part.w, part.h);
    codes.forEach((code, i) => {
      const [colour, share] = colourOf(Values.valueOf(code, part.lo, part.hi), part.most);
      image.data.set([...colour, Number.isFinite(share) ? share * 255 : 0], 4 * i);
    });
    top.getContext("2d").putImageData(image, 0, 0);
    top.style.opacity = state.strength / 100;
    const output = make("output", { class: "under" }, " ");
    Values.watch(top, output, (row, column) => `row ${row}, column ${column}: ≈ ` +
      number(Values.valueOf(codes[row * part.w + column], part.lo, part.hi)));
    const slider = make("input", { type: "range", min: 0, max: 100, value: state.strength, "aria-label": "strength of the overlay" });
    slider.addEventListener("input", () => { state.strength = +slider.value; top.style.opacity = state.strength / 100; });
    const scale = Math.max(1, Math.floor(320 / Math.max(picture.w, picture.h)));
    return [make("div", { class: "overlay", style: `width:${picture.w * scale}px;aspect-ratio:${picture.w}/${picture.h}` }, base, top),
      output, make("label", { class: "strength" }, "overlay ", slider)];
  }

  function words(part) {
    const row = make("p", { class: "said" });
    part.words.forEach((word, i) => {
      if (word === "") return; // padding
      const [colour, share] = colourOf(part.numbers[i], part.most);
      row.append(make("span", { style: `background:rgba(${colour},${(share * 0.75).toFixed(2)})`,
        title: number(part.numbers[i]) }, word), " ");
    });
    const table = make("table", {}, ...part.words.map((word, i) => word === "" ? null
      : make("tr", {}, make("th", {}, word), make("td", {}, number(part.numbers[i])))).filter(Boolean));
    const padding = part.words.reduce((sum, word, i) => word === "" ? sum + part.numbers[i] : sum, 0);
    return make("div", {}, row,
      padding ? make("p", { class: "note" }, `padding: ${number(padding)}`) : null,
      make("details", {}, make("summary", {}, "values"), table));
  }

  /** The first input with saliency, of the nodes of the page; -1 without any. */
  const first = () => DATA.nodes.findIndex(node => node.op === "Input" && has(node.name));

  return { has, shown, first, note: entries.length ? null : found.note };
})();
