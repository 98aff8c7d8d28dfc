"use strict";
/* RNN, LSTM and GRU over time: gates and states as heat maps, and one time step of them. */

const Recurrent = (() => {
  let current = null; // the step function of the node that is shown

  function shown(node) {
    const inside = node.inside, titles = DATA.series[node.op];
    const [units, count] = inside.shown;
    const times = Array.from({ length: count }, (_, i) => chosenOf(i, inside.steps, count));
    const state = { sequence: 0, at: 0, timer: null };
    const root = make("section", { class: "inside" }, make("h3", {}, "Gates and states over time"));
    const slider = make("input", { type: "range", min: 0, max: Math.max(times.length - 1, 0), value: 0,
      class: "time", "aria-label": "time step" });
    const said = make("output", { class: "step" });
    const play = make("button", { "aria-label": "play" }, "▶");
    const body = make("div");
    const now = make("div", { class: "now" });
    const length = () => inside.lengths[state.sequence];

    root.append(make("p", { class: "note" },
      `${plural(inside.steps, "time step")} from left to right, ` +
      `${units < inside.units ? `${units} of ` : ""}${plural(inside.units, "unit")} from top to bottom` +
      `${times.length < inside.steps ? `, ${times.length} of the steps shown` : ""}. ` +
      "Recomputed from the node's inputs" +
      (inside.differs === undefined ? "." : `; the largest difference of h from its output is ${number(inside.differs)}.`)));
    if (inside.n > 1) {
      const select = make("select", { "aria-label": "sequence" },
        ...Array.from({ length: inside.n }, (_, i) =>
          make("option", { value: i }, `sequence ${i} (${plural(inside.lengths[i], "step")})`)));
      select.addEventListener("change", () => { state.sequence = +select.value; fill(); });
      root.append(select);
    }
    root.append(make("div", { class: "clock" },
      make("button", { "aria-label": "previous time step", onclick: () => step(-1) }, "‹"), slider,
      make("button", { "aria-label": "next time step", onclick: () => step(1) }, "›"), play, said),
    now, body);

    const decoded = inside.ways.map(way => Object.fromEntries(
      Object.entries(way.series).map(([letter, s]) => [letter, { ...s, codes: bytesOf(s.data) }])));
    const size = units * times.length;
    const part = series => series.codes.subarray(state.sequence * size, (state.sequence + 1) * size);
    let cursors = [];

    function fill() {
      body.replaceChildren();
      cursors = [];
      inside.ways.forEach((way, w) => {
        if (inside.ways.length > 1 || way.reverse)
          body.append(make("h4", {}, way.reverse ? "Backward, from the last step to the first"
            : "Forward"));
        for (const [letter, series] of Object.entries(decoded[w])) body.append(band(letter, series));
      });
      mark();
    }

    function band(letter, series) {
      const codes = part(series);
      const canvas = make("canvas", { class: "series", role: "img", "aria-label": titles[letter] });
      Values.paint(canvas, codes, units, times.length, series.lo, series.hi);
      const output = make("output", { class: "under" }, " ");
      Values.watch(canvas, output, (row, column) => times[column] >= length()
        ? `step ${times[column]}: masked`
        : `step ${times[column]}, unit ${chosenOf(row, inside.units, units)}: ≈ ` +
          number(Values.valueOf(codes[row * times.length + column], series.lo, series.hi)));
      canvas.addEventListener("click", event => {
        const box = canvas.getBoundingClientRect();
        state.at = Math.floor((event.clientX - box.left) / box.width * times.length);
        mark();
      });
      const cursor = make("i", { class: "cursor" });
      cursors.push(cursor);
      const frame = make("div", { class: "frame",
        style: `height:${Math.min(Math.max(units * 3, 48), 120)}px` }, canvas);
      const first = times.findIndex(t => t >= length());
      if (first >= 0)
        frame.append(make("i", { class: "masked", title: "masked: after the end of the sequence",
          style: `left:${first / times.length * 100}%` }));
      frame.append(cursor);
      return make("figure", { class: "band" },
        make("figcaption", {}, make("b", {}, titles[letter]),
          Values.scale(series.lo, series.hi, codes.filter((c, i) => times[i % times.length] < length()))),
        frame, output);
    }

    /** Move the cursor to the step of the slider, and show the units of that step. */
    function mark() {
      state.at = Math.min(Math.max(state.at, 0), times.length - 1);
      slider.value = state.at;
      const t = times[state.at], masked = t >= length();
      const word = inside.words && inside.words[t];
      said.textContent = `step ${t} of 0–${inside.steps - 1}${word ? `: “${word}”` : ""}` +
        (masked ? ", masked" : "");
      for (const cursor of cursors) {
        cursor.style.left = `${state.at / times.length * 100}%`;
        cursor.style.width = `${100 / times.length}%`;
      }
      now.replaceChildren();
      if (masked) {
        now.append(make("p", { class: "note" },
          `The sequence has ${plural(length(), "step")}: after its end nothing is computed, and Y is 0.`));
        return;
      }
      inside.ways.forEach((way, w) => {
        const table = make("table", { class: "units" });
        if (inside.ways.length > 1) table.append(make("caption", {}, way.reverse ? "backward" : "forward"));
        for (const [letter, series] of Object.entries(decoded[w])) {
          const codes = part(series);
          const column = Uint8Array.from({ length: units }, (_, u) => codes[u * times.length + state.at]);
          const values = [...column].map(c => Values.valueOf(c, series.lo, series.hi));
          const strip = make("canvas", { class: "strip", role: "img", "aria-label": `${letter} by unit` });
          Values.paint(strip, column, 1, units, series.lo, series.hi);
          table.append(make("tr", { title: titles[letter] }, make("th", {}, letter), make("td", {}, strip),
            make("td", {}, `mean ${number(values.reduce((a, b) => a + b, 0) / units)}`)));
        }
        now.append(table);
      });
    }

    function step(by) {
      state.at += by;
      mark();
    }

    function stop() {
      clearInterval(state.timer);
      state.timer = null;
      play.textContent = "▶";
      play.setAttribute("aria-label", "play");
    }

    slider.addEventListener("input", () => { state.at = +slider.value; mark(); });
    play.addEventListener("click", () => {
      if (state.timer) return stop();
      if (state.at >= times.length - 1) state.at = -1;
      play.textContent = "❚❚";
      play.setAttribute("aria-label", "stop");
      state.timer = setInterval(() => {
        if (!root.isConnected || state.at >= times.length - 1) return stop();
        step(1);
      }, 250);
    });
    fill();
    current = { root, step };
    return root;
  }

  return {
    shown,
    step(by) { if (current && current.root.isConnected) current.step(by); },
  };
})();
