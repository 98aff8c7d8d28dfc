"use strict";
/* Pictures of values: maps, pictures, heat maps, bars, histograms. */

const Values = (() => {
  const TOP = 252, MINUS_INFINITY = 253, INFINITY = 254, NOT_A_NUMBER = 255;
  const SPECIAL = {
    [MINUS_INFINITY]: ["−∞", [0, 200, 255]],
    [INFINITY]: ["∞", [255, 60, 0]],
    [NOT_A_NUMBER]: ["NaN", [255, 0, 255]],
  };
  // Viridis for one sign; blue to orange for two. Colour-blind people can distinguish both.
  const VIRIDIS = ["440154", "482878", "3e4a89", "31688e", "26838f", "1f9d8a", "6cce5a", "b6de2b",
    "fee825"];
  const TWO_SIGNS = {
    light: ["053061", "2166ac", "4393c3", "92c5de", "f4f4f2", "fdc57f", "f08a24", "c05a00", "7a3300"],
    dark: ["a6d5ff", "63aef0", "2f7fc4", "1d4f80", "20242a", "84470a", "c46c10", "f39c2f", "ffd08a"],
  };

  const isDark = () => getComputedStyle(document.documentElement).colorScheme === "dark";

  /** 253 colours: those of the codes from lo to hi. */
  function colours(lo, hi) {
    const both = lo < 0 && hi > 0;
    const stops = (both ? TWO_SIGNS[isDark() ? "dark" : "light"] : lo < 0 ? [...VIRIDIS].reverse()
      : VIRIDIS).map(hex => [0, 2, 4].map(i => parseInt(hex.slice(i, i + 2), 16)));
    const most = Math.max(-lo, hi);
    const table = [];
    for (let code = 0; code <= TOP; code++) {
      const value = lo + (hi - lo) * code / TOP;
      const at = (both ? (value / most + 1) / 2 : hi === lo ? 0.5 : code / TOP) * (stops.length - 1);
      const i = Math.min(Math.floor(at), stops.length - 2);
      table.push(stops[i].map((c, k) => c + (stops[i + 1][k] - c) * (at - i)));
    }
    return table;
  }

  const valueOf = (code, lo, hi) =>
    code === NOT_A_NUMBER ? NaN : code === INFINITY ? Infinity : code === MINUS_INFINITY ? -Infinity
      : lo + (hi - lo) * code / TOP;

  /** Codes (h, w) or, with colour, (h, w, 3) on a canvas of as many pixels. */
  function paint(canvas, codes, h, w, lo, hi, colour) {
    canvas.width = w;
    canvas.height = h;
    const image = new ImageData(w, h);
    const table = colour ? null : colours(lo, hi);
    for (let i = 0; i < h * w; i++) {
      const code = colour ? Math.max(codes[3 * i], codes[3 * i + 1], codes[3 * i + 2]) : codes[i];
      const pixel = code > TOP ? SPECIAL[code][1]
        : colour ? [codes[3 * i], codes[3 * i + 1], codes[3 * i + 2]].map(c => c * 255 / TOP)
          : table[code];
      image.data.set(pixel, 4 * i);
      image.data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  /** The codes of one map stretched to all colours, and their new range. */
  function stretched(codes, lo, hi) {
    let least = TOP, most = 0;
    for (const code of codes) if (code <= TOP) {
      if (code < least) least = code;
      if (code > most) most = code;
    }
    if (least >= most) return [codes, lo, hi];
    const spread = codes.map(code => code > TOP ? code
      : Math.round((code - least) * TOP / (most - least)));
    return [spread, valueOf(least, lo, hi), valueOf(most, lo, hi)];
  }

  function scale(lo, hi, codes) {
    const canvas = make("canvas", { class: "gradient", "aria-hidden": "true" });
    paint(canvas, Uint8Array.from({ length: TOP + 1 }, (_, i) => i), 1, TOP + 1, lo, hi);
    const found = make("div", { class: "scale" }, make("span", {}, number(lo)), canvas,
      make("span", {}, number(hi)));
    for (const code of [MINUS_INFINITY, INFINITY, NOT_A_NUMBER])
      if (codes.includes(code)) {
        const [name, colour] = SPECIAL[code];
        found.append(make("span", { class: "special" },
          make("i", { style: `background:rgb(${colour})` }), name));
      }
    return found;
  }

  /** Describe the cell under the pointer. */
  function watch(canvas, output, tell) {
    const say = event => {
      const box = canvas.getBoundingClientRect();
      const at = (position, size, cells) =>
        Math.min(Math.max(Math.floor(position / size * cells), 0), cells - 1);
      output.textContent = tell(at(event.clientY - box.top, box.height, canvas.height),
        at(event.clientX - box.left, box.width, canvas.width));
    };
    canvas.addEventListener("pointermove", say);
    canvas.addEventListener("pointerdown", say); // a finger's tap
    canvas.addEventListener("pointerleave", () => { output.textContent = " "; });
  }

  function reduction(view) {
    if (!view.was && !view.batch) return null;
    const was = (view.was || []).join(" × "), is = (view.is || []).join(" × ");
    const texts = [];
    if (view.batch) texts.push(`The first of ${view.batch} samples.`);
    if (view.was && view.was.length === 3)
      texts.push(`Shown: ${is} of ${was} (maps × height × width)` +
        `${view.is[0] < view.was[0] ? ", evenly spaced maps" : ""}` +
        `${view.is[1] * view.is[2] < view.was[1] * view.was[2] ? ", pixels averaged" : ""}.`);
    else if (view.was && view.was.length === 2)
      texts.push(`Shown: ${is} of ${was} (rows × columns), evenly spaced.`);
    else if (view.was) texts.push(`Shown: ${is} of ${was} numbers, evenly spaced.`);
    return make("p", { class: "note reduced" }, texts.join(" "));
  }

  function maps(view) {
    const all = bytesOf(view.data);
    const colour = view.kind === "picture";
    const size = view.h * view.w * (colour ? 3 : 1);
    const output = make("output", { class: "under" }, " ");
    const grid = make("div", { class: "maps" });
    const own = make("input", { type: "checkbox" });
    const single = view.n === 1;
    const step = single ? Math.max(1, Math.min(12, Math.floor(320 / view.w)))
      : Math.max(1, Math.min(12, Math.round(72 / Math.max(view.w, view.h))));
    function title(k) {
      const id = view.was ? chosenOf(k, view.was[0], view.is[0]) : k;
      if (view.per) return `filter ${Math.floor(id / view.per)}` + (view.per > 1 ? `, channel ${id % view.per}` : "");
      return `${colour ? "picture" : "map"} ${id}`;
    }
    function fill() {
      grid.replaceChildren();
      for (let k = 0; k < view.n; k++) {
        let codes = all.subarray(k * size, (k + 1) * size), { lo, hi } = view;
        if (own.checked) [codes, lo, hi] = stretched(codes, lo, hi);
        const canvas = make("canvas", { style: `width:${view.w * step}px;aspect-ratio:${view.w}/${view.h}`,
          role: "img", "aria-label": title(k) });
        paint(canvas, codes, view.h, view.w, lo, hi, colour);
        watch(canvas, output, (row, column) => {
          const at = row * view.w + column;
          const values = colour ? [0, 1, 2].map(c => number(valueOf(codes[3 * at + c], lo, hi)))
            : [number(valueOf(codes[at], lo, hi))];
          return `${title(k)}, row ${row}, column ${column}: ≈ ${values.join(", ")}`;
        });
        grid.append(canvas);
      }
    }
    fill();
    const parts = [grid, output];
    if (!colour) parts.push(scale(view.lo, view.hi, all));
    else parts.push(make("p", { class: "note" },
      `Red, green and blue: from ${number(view.lo)} (dark) to ${number(view.hi)} (bright).`));
    if (!single) {
      own.addEventListener("change", fill);
      parts.push(make("label", { class: "own" }, own, " separate scale for each map"));
    }
    return parts;
  }

  function heat(view) {
    const codes = bytesOf(view.data);
    // Pixels of a narrow matrix may be wider than high.
    const step = (cells, room) => Math.max(1, Math.min(16, Math.floor(room / cells)));
    const canvas = make("canvas", { class: "heat", role: "img", "aria-label": "heat map",
      style: `width:${Math.max(view.w * step(view.w, 440), 24)}px;` +
        `height:${Math.max(view.h * step(view.h, 330), 16)}px` });
    paint(canvas, codes, view.h, view.w, view.lo, view.hi);
    const output = make("output", { class: "under" }, " ");
    const [rows, columns] = view.was || [view.h, view.w];
    watch(canvas, output, (row, column) =>
      `row ${chosenOf(row, rows, view.h)}, column ${chosenOf(column, columns, view.w)}: ≈ ` +
      number(valueOf(codes[row * view.w + column], view.lo, view.hi)));
    return [canvas, output, scale(view.lo, view.hi, codes)];
  }

  function listOf(view) {
    const bytes = bytesOf(view.data);
    return view.as === "f8" ? new Float64Array(bytes.buffer) : new Float32Array(bytes.buffer);
  }

  function numbers(view, softmax, labels) {
    const values = listOf(view);
    const id = i => view.was ? chosenOf(i, view.was[0], view.is[0]) : i;
    if (values.length === 1 && !view.was) return [make("p", { class: "single" }, number(values[0]))];
    const parts = [];
    const classes = labels || softmax;
    if (classes) parts.push(best(values, id, labels));
    if (classes && values.length <= 10) return parts; // the table lists all
    if (values.length <= 16)
      parts.push(make("p", { class: "listed" }, [...values].map(number).join(", ")));
    if (values.length > 4) parts.push(...bars(values, id));
    return parts;
  }

  /** The largest values, as bars with their names. */
  function best(values, id, labels) {
    const order = [...values.keys()].sort((a, b) => values[b] - values[a]).slice(0, 10);
    const most = Math.max(...order.map(i => Math.abs(values[i])).filter(Number.isFinite), 1e-30);
    const shares = [...values].every(v => v >= 0 && v <= 1.000001);
    const table = make("table", { class: "best" });
    for (const i of order) {
      const name = labels ? labels[id(i)] ?? `class ${id(i)}` : `class ${id(i)}`;
      const width = Number.isFinite(values[i]) ? Math.abs(values[i]) / (shares ? 1 : most) * 100 : 0;
      table.append(make("tr", {},
        make("th", {}, shortened(name, 40)),
        make("td", { class: "bar" }, make("i", { style: `width:${width}%`,
          class: values[i] < 0 ? "minus" : "" })),
        make("td", {}, shares ? `${(values[i] * 100).toFixed(1)} %` : number(values[i]))));
    }
    return table;
  }

  function bars(values, id) {
    const finite = [...values].filter(Number.isFinite);
    const lo = Math.min(0, ...finite), hi = Math.max(0, ...finite);
    const height = 90, width = values.length;
    const y = v => hi === lo ? height : (hi - v) / (hi - lo) * height;
    const svg = makeSvg("svg", { class: "bars", viewBox: `0 0 ${width} ${height}`,
      preserveAspectRatio: "none", role: "img", "aria-label": "values" });
    let plus = "", minus = "", odd = "";
    const gap = width < 200 ? 0.15 : 0;
    [...values].forEach((v, i) => {
      if (!Number.isFinite(v)) odd += `M${i} 0h1v${height}h-1z`;
      else if (v >= 0) plus += `M${i + gap} ${y(v)}H${i + 1 - gap}V${y(0)}H${i + gap}z`;
      else minus += `M${i + gap} ${y(0)}H${i + 1 - gap}V${y(v)}H${i + gap}z`;
    });
    svg.append(makeSvg("path", { class: "plus", d: plus }), makeSvg("path", { class: "minus", d: minus }),
      makeSvg("path", { class: "odd", d: odd }),
      makeSvg("path", { class: "zero", d: `M0 ${y(0)}H${width}`, "vector-effect": "non-scaling-stroke" }));
    const output = make("output", { class: "under" }, " ");
    svg.addEventListener("pointermove", event => {
      const box = svg.getBoundingClientRect();
      const i = Math.min(Math.max(Math.floor((event.clientX - box.left) / box.width * width), 0),
        width - 1);
      output.textContent = `${id(i)}: ${number(values[i])}`;
    });
    svg.addEventListener("pointerleave", () => { output.textContent = " "; });
    return [make("div", { class: "chart" },
      make("span", { class: "hi" }, number(hi)), svg, make("span", { class: "lo" }, number(lo))), output];
  }

  function histogram(figures) {
    const most = Math.max(...figures.bins);
    const svg = makeSvg("svg", { class: "histogram", viewBox: `0 0 ${figures.bins.length} 40`,
      preserveAspectRatio: "none", role: "img", "aria-label": "histogram" });
    let d = "";
    figures.bins.forEach((count, i) => {
      // Square roots, so that rare values are visible next to many zeros.
      if (count) d += `M${i + 0.08} 40V${40 - Math.max(1, Math.sqrt(count / most) * 40)}h.84V40z`;
    });
    svg.append(makeSvg("path", { d }));
    if (figures.min < 0 && figures.max > 0) {
      const x = -figures.min / (figures.max - figures.min) * figures.bins.length;
      svg.append(makeSvg("path", { class: "zero", d: `M${x} 0V40`, "vector-effect": "non-scaling-stroke" }));
    }
    return make("figure", { class: "spread" }, svg, make("figcaption", {},
      make("span", {}, number(figures.min)), make("span", {}, "frequency (square root)"),
      make("span", {}, number(figures.max))));
  }

  function figuresOf(figures) {
    const shownFigures = [];
    if (figures.min !== undefined) {
      shownFigures.push(["min", figures.min], ["max", figures.max]);
      if (figures.mean !== undefined) shownFigures.push(["mean", figures.mean], ["std", figures.std]);
      if (figures.zeros) shownFigures.push(["zeros", figures.zeros]);
    }
    const row = make("p", { class: "figures" });
    for (const [name, value] of shownFigures)
      row.append(make("span", {}, `${name} `, make("b", {}, number(value))));
    for (const name of ["nan", "inf", "-inf"])
      if (figures[name])
        row.append(make("span", { class: "alarm" }, `${number(figures[name])} × `,
          { nan: "NaN", inf: "∞", "-inf": "−∞" }[name]));
    return row;
  }

  /** All about a value except its name. */
  function shown(entry, softmax = false) {
    const parts = [];
    if (entry.figures && !(entry.view?.kind === "numbers" && listOf(entry.view).length === 1))
      parts.push(figuresOf(entry.figures));
    if (entry.words)
      parts.push(make("p", { class: "words" }, entry.words.filter(word => word !== "").join(" ")));
    if (entry.texts)
      parts.push(make("ul", {}, ...entry.texts.map(text => make("li", {}, text))));
    if (entry.items)
      parts.push(make("ul", {}, ...entry.items.map(text => make("li", {}, text))));
    if (entry.view) {
      const labels = entry.labels ? DATA.labels[entry.labels] : null;
      const view = entry.view;
      if (view.kind === "numbers")
        parts.push(...numbers(view, softmax, labels));
      else if (view.kind === "heat") parts.push(...heat(view));
      else parts.push(...maps(view));
      parts.push(reduction(view));
    }
    if (entry.figures && entry.figures.bins) parts.push(histogram(entry.figures));
    return parts;
  }

  return { shown, bars, paint, colours, scale, watch, valueOf, TOP, NOT_A_NUMBER };
})();
