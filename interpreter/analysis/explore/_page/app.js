"use strict";
/* The position in the walk, the details of a node, search, keyboard shortcuts, themes. */

(() => {
  const { nodes, values, model } = DATA;
  const details = byId("details"), slider = byId("place"), hits = byId("hits"), search = byId("search");
  let at = 0; // the step of the walk
  let chosen = "0"; // a step, or a group

  /* --- names for links --- */

  const links = new Map();
  const linkOf = nodes.map((node, i) => {
    let link = ["Input", "Output", "Iteration"].includes(node.op) ? `${node.op.toLowerCase()}:${node.name}` : node.name;
    if (links.has(link)) link = `${link}~${i}`;
    links.set(link, i);
    return link;
  });

  function goTo(id, { uncover = false, middle = false, keep = false } = {}) {
    chosen = String(id);
    if (uncover) Graph.uncover(chosen);
    if (!Graph.groups.has(chosen)) {
      at = +chosen;
      slider.value = at;
      byId("count").textContent = `${at + 1} of ${nodes.length}`;
      if (!keep) {
        const link = `#node=${encodeURIComponent(linkOf[at])}`;
        try { history.replaceState(null, "", link); } catch { /* a frame in a notebook has no address */ }
      }
    }
    Graph.select(chosen, middle);
    tell();
  }

  const step = by => goTo(Math.min(Math.max(at + by, 0), nodes.length - 1));

  function followFragment() {
    const match = location.hash.match(/^#node=(.*)$/);
    let name = null;
    try { name = match && decodeURIComponent(match[1]); } catch { /* no link of ours */ }
    if (!links.has(name)) return false;
    goTo(links.get(name), { uncover: true, middle: true, keep: true });
    return true;
  }

  function toggle(key) {
    Graph.toggle(key);
    if (chosen === key) tell();
  }

  /* --- the details of a node --- */

  function tell() {
    details.replaceChildren(...(Graph.groups.has(chosen) ? ofGroup(Graph.groups.get(chosen))
      : ofNode(nodes[at], at)).filter(Boolean));
    const side = byId("side");
    side.scrollTop = 0;
    if (scrollY > side.offsetTop) scrollTo(0, side.offsetTop); // a phone scrolls the whole page
  }

  const link = (i, text) => make("a", { href: `#node=${encodeURIComponent(linkOf[i])}`, class: "to",
    onclick: event => { event.preventDefault(); goTo(i, { uncover: true }); } }, text ?? nodes[i].name);

  function ofGroup(group) {
    // The time of an inner node is part of the node around it.
    const whole = group.nodes.filter(i => !nodes[i].part);
    const seconds = (whole.length ? whole : group.nodes).reduce((sum, i) => sum + (nodes[i].seconds || 0), 0);
    return [
      make("h2", {}, group.name),
      make("p", { class: "note" }, `A group of ${plural(group.nodes.length, "node")} with a common name, ` +
        `${duration(seconds)} (${share(seconds)} of the run).`),
      make("button", { onclick: () => toggle(group.key) }, Graph.isOpen(group.key) ? "collapse" : "expand"),
      make("ol", { class: "members" }, ...group.nodes.slice(0, 200).map(i => make("li", {},
        make("b", {}, nodes[i].op), " ", link(i)))),
      group.nodes.length > 200 ? make("p", { class: "note" }, `and ${group.nodes.length - 200} more`) : null,
    ];
  }

  const share = seconds => `${(seconds / (model.walk || 1e-12) * 100).toFixed(1)} %`;

  function ofNode(node, i) {
    const parts = [make("h2", { class: kindOf(node.op) }, node.op,
      node.version ? make("small", {}, node.version) : null)];
    parts.push(make("p", { class: "fullname" }, node.says || node.name), crumbs(i));
    if (i === 0) parts.push(...ofModel());
    if (node.op === "Input" && Saliency.has(node.name)) parts.push(Saliency.shown(node.name));
    else if (i === 0 && Saliency.note()) parts.push(make("p", { class: "note" }, `No saliency: ${Saliency.note()}`));
    else if (node.op === "Input" && HOST) parts.push(make("button", { onclick: HOST.saliency },
      "compute the saliency: what moved the score"));
    if (node.doc !== undefined) parts.push(formula(DATA.docs[node.doc]));
    if (node.seconds !== undefined) {
      parts.push(make("p", { class: "figures" },
        make("span", {}, "time ", make("b", {}, duration(node.seconds)), ` (${share(node.seconds)})`),
        node.flop ? make("span", {}, "computes ", make("b", {}, amount(node.flop, "FLOP"))) : "",
        make("span", {}, "moves ", make("b", {}, amount(node.bytes, "B")))));
    }
    if (node.became) parts.push(became(node.became));
    for (const [name, times, shown] of node.runs || [])
      parts.push(make("p", { class: "runs" }, node.op === "If" ? `ran ${name}` : `ran ${name} ${plural(times, "time")}`,
        !shown ? "; not shown" : shown < times ? `; the first ${shown} are shown` : ""));
    if (node.attributes && node.attributes.length) parts.push(attributes(node.attributes));
    if (node.inside) parts.push(Recurrent.shown(node));
    if (node.weights)
      parts.push(make("h3", {}, "Attention weights: a map per head, queries from top to bottom, keys from left to right"),
        ...Values.shown(node.weights).filter(Boolean));
    if (node.out.length) parts.push(make("h3", {}, node.op === "Input" ? "Value" : "Outputs"));
    for (const [title, value] of node.out) parts.push(ofValue(title, value, true, i));
    if (node.in.length) parts.push(make("h3", {}, node.op === "Output" ? "Value" : "Inputs"));
    for (const [title, value] of node.in)
      parts.push(ofValue(title, value, node.op === "Output" || Boolean(values[value].constant), i));
    return parts;
  }

  /** The provenance of a node: what replaces it in a run, and which other nodes that replaces. */
  function became({ text, parts = [], by = [] }) {
    const row = make("p", { class: "became" }, "in a normal run: ", make("b", {}, text));
    if (parts.length) row.append(", which replaces ");
    parts.slice(0, 12).forEach((i, k) => row.append(k ? " + " : "",
      i === at ? make("span", {}, nodes[i].op) : link(i, nodes[i].op)));
    if (parts.length > 12) row.append(` and ${parts.length - 12} more`);
    if (by.length) row.append(make("small", { title: "the rewrites that changed it" }, ` ${by.join(", ")}`));
    return row;
  }

  function ofModel() {
    const opsets = Object.entries(model.opsets).map(([domain, n]) => `${domain} ${n}`).join(", ");
    return [make("p", { class: "note" },
      `${model.source}: ${plural(nodes.filter(n => n.seconds !== undefined && !n.part).length, "node")}, ` +
      `${plural(model.parameters, "parameter")}, opset ${opsets}` +
      `${model.producer ? `, produced by ${model.producer}` : ""}. Times are measured node by node, without ` +
      `rewrites, ${duration(model.walk)} in total; a normal run, which fuses nodes, takes ` +
      `${duration(model.seconds)}.`)];
  }

  function crumbs(i) {
    const keys = Graph.around(i);
    if (!keys.length) return null;
    const row = make("p", { class: "crumbs" }, "in ");
    keys.forEach((key, k) => row.append(k ? " › " : "", make("button", {
      title: "show this group", onclick: () => goTo(key, { uncover: true }) }, Graph.groups.get(key).name)));
    if (Graph.isHidden(i)) row.append(make("button", { class: "more",
      onclick: () => goTo(i, { uncover: true, middle: true }) }, "expand"));
    return row;
  }

  function formula(text) {
    // Lines without indentation were wrapped for the source file: join them.
    const paragraphs = text.replace(/``/g, "").split("\n\n").map(p => /^\s/.test(p) ? p : p.replace(/\n(?!\s)/g, " "));
    // The first paragraph is the summary; indented ones that follow are formulas.
    let end = 1;
    while (end < paragraphs.length && /^\s/.test(paragraphs[end])) end++;
    const first = paragraphs.slice(0, end).join("\n\n"), more = paragraphs.slice(end).join("\n\n");
    const box = make("div", { class: "formula" }, make("pre", { class: end > 1 ? "wide" : "" },
      first.replace(/(\S) {4,}(?=\S)/g, "$1    ")));
    if (more.length > 160)
      box.append(make("details", {}, make("summary", {}, "shapes and details"), make("pre", {}, more)));
    else if (more) box.append(make("pre", { class: "more" }, more));
    return box;
  }

  function attributes(list) {
    const table = make("table", { class: "attributes" });
    for (const [name, text, isDefault] of list)
      table.append(make("tr", isDefault ? { class: "default", title: "default, not in the file" } : {},
        make("th", {}, name), make("td", {}, text)));
    return table;
  }

  function ofValue(title, number, open, here) {
    const value = values[number];
    const summary = make("summary", {},
      title ? make("span", { class: "formal" }, title) : null,
      make("span", { class: "typed" }, make("b", {}, value.name), `: ${value.type}`),
      value.constant ? make("span", { class: "weight" }, "constant") : null);
    const box = make("details", { class: "value" }, summary);
    const from = Graph.madeBy.get(number);
    const to = (Graph.readBy.get(number) || []).filter(i => i !== here);
    function fill() {
      if (box.querySelector(".content")) return;
      const content = make("div", { class: "content" });
      if (from !== undefined && from !== here)
        content.append(make("p", { class: "ways" }, "from ", link(from, `${nodes[from].op} ${nodes[from].name}`)));
      if (to.length && from === here) {
        const row = make("p", { class: "ways" }, "to ");
        to.slice(0, 12).forEach((i, k) => row.append(k ? ", " : "", link(i, `${nodes[i].op} ${nodes[i].name}`)));
        if (to.length > 12) row.append(` and ${to.length - 12} more`);
        content.append(row);
      }
      const softmax = from !== undefined && nodes[from].op === "Softmax";
      content.append(...Values.shown(value, softmax).filter(Boolean));
      if (HOST && !value.items) content.append(make("button", { class: "save", onclick: () => HOST.download(value.name),
        title: "download the whole value" }, ".npy"));
      box.append(content);
    }
    box.addEventListener("toggle", () => { if (box.open) fill(); });
    if (open) {
      box.open = true;
      fill();
    }
    return box;
  }

  /* --- search --- */

  function find() {
    const wanted = search.value.trim().toLowerCase();
    hits.replaceChildren();
    hits.hidden = !wanted;
    if (!wanted) return;
    const found = [];
    nodes.forEach((node, i) => {
      const texts = [node.op, node.name, ...node.out.map(([, v]) => values[v].name)];
      if (texts.some(text => text.toLowerCase().includes(wanted))) found.push(i);
    });
    const rank = i => [nodes[i].op.toLowerCase() === wanted, nodes[i].op.toLowerCase().startsWith(wanted),
      true].indexOf(true); // operators before names: the names may all begin with the name of the model
    found.sort((a, b) => rank(a) - rank(b) || a - b);
    for (const i of found.slice(0, 60))
      hits.append(make("li", {}, make("a", { href: `#node=${encodeURIComponent(linkOf[i])}`,
        onclick: event => { event.preventDefault(); choose(i); } },
      make("b", {}, nodes[i].op), " ", nodes[i].name)));
    if (found.length !== hits.children.length || !found.length)
      hits.append(make("li", { class: "note" }, found.length ? `${found.length - 60} more` : "no matches"));
  }

  function choose(i) {
    hits.hidden = true;
    search.blur();
    goTo(i, { uncover: true, middle: true });
  }

  search.addEventListener("input", find);
  search.addEventListener("focus", find);
  search.addEventListener("keydown", event => {
    const links = [...hits.querySelectorAll("a")];
    if (event.key === "Enter" && links.length) links[0].click();
    else if (event.key === "ArrowDown" && links.length) links[0].focus();
    else if (event.key === "Escape") { hits.hidden = true; search.blur(); }
    else return;
    event.preventDefault();
  });
  hits.addEventListener("keydown", event => {
    const links = [...hits.querySelectorAll("a")], here = links.indexOf(document.activeElement);
    if (event.key === "ArrowDown") links[Math.min(here + 1, links.length - 1)].focus();
    else if (event.key === "ArrowUp") (here ? links[here - 1] : search).focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  document.addEventListener("pointerdown", event => {
    if (!event.target.closest("#finder")) hits.hidden = true;
  });

  /* --- keys, buttons, theme --- */

  const KEYS = {
    ArrowDown: () => step(1), ArrowRight: () => step(1), j: () => step(1),
    ArrowUp: () => step(-1), ArrowLeft: () => step(-1), k: () => step(-1),
    "/": () => search.focus(), "?": () => byId("keys").showModal(),
    "+": () => Graph.zoom(1.25), "=": () => Graph.zoom(1.25), "-": () => Graph.zoom(0.8),
    s: () => toSaliency(), 0: () => Graph.whole(), ",": () => Recurrent.step(-1), ".": () => Recurrent.step(1),
    Escape: () => { hits.hidden = true; },
    Enter: () => {
      const keys = Graph.groups.has(chosen) ? [chosen] : Graph.around(at);
      const key = keys.find(k => !Graph.isOpen(k)) ?? keys.at(-1);
      if (key) toggle(key);
    },
  };
  document.addEventListener("keydown", event => {
    const act = KEYS[event.key];
    const typing = event.target.closest("select, dialog, input:not([type=range])") ||
      (event.target.closest("input") && event.key.startsWith("Arrow"));
    const pressed = event.key === "Enter" && event.target.closest("button, a, summary");
    if (!act || typing || pressed || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });

  function isDark() {
    const set = document.documentElement.dataset.theme;
    return set ? set === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }
  function setTheme(theme) {
    document.documentElement.dataset.theme = theme;
    try { localStorage.setItem("onnxwalk-theme", theme); } catch { /* a file may have no storage */ }
    tell();
  }
  byId("theme").hidden = Boolean(HOST); // the page around this one has it
  byId("theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
  addEventListener("storage", event => { // the page around this one switches as well
    if (event.key !== "onnxwalk-theme" || !event.newValue) return;
    document.documentElement.dataset.theme = event.newValue;
    tell();
  });
  try {
    const kept = localStorage.getItem("onnxwalk-theme");
    if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
  } catch { /* as above */ }

  function toSaliency() {
    const i = Saliency.first();
    if (i < 0 && HOST) HOST.saliency();
    if (i < 0) return;
    goTo(i, { uncover: true, middle: true });
    const section = byId("saliency-section");
    section.scrollIntoView();
    section.focus({ preventScroll: true });
  }
  byId("saliency").hidden = Saliency.first() < 0 && !HOST;
  byId("saliency").addEventListener("click", toSaliency);
  byId("help").addEventListener("click", () => byId("keys").showModal());
  byId("back").addEventListener("click", () => step(-1));
  byId("forward").addEventListener("click", () => step(1));
  byId("closer").addEventListener("click", () => Graph.zoom(1.25));
  byId("farther").addEventListener("click", () => Graph.zoom(0.8));
  byId("whole").addEventListener("click", () => Graph.whole());
  for (const [id, unfolded] of [["open", true], ["close", false]])
    byId(id).addEventListener("click", () => { Graph.setAll(unfolded); Graph.select(chosen, true); tell(); });
  slider.max = nodes.length - 1;
  slider.addEventListener("input", () => goTo(+slider.value));
  Graph.listen(id => goTo(id), toggle);
  addEventListener("hashchange", followFragment);
  if (HOST) addEventListener("message", event => {
    if (event.source !== parent || event.origin !== location.origin) return;
    const { found, value } = event.data;
    if (found) {
      Saliency.set(found);
      goTo(0, { uncover: true, middle: true });
      toSaliency();
    }
    const i = value === undefined ? undefined : Graph.madeBy.get(values.findIndex(v => v.name === value));
    if (i !== undefined) goTo(i, { uncover: true, middle: true });
  });

  const used = new Set(nodes.map(node => kindOf(node.op)));
  byId("key").append(...KINDS.filter(([kind]) => used.has(kind)).map(([kind, text]) =>
    make("li", { class: kind }, make("i"), text)));
  const canFold = Graph.groups.size > 0;
  byId("open").hidden = !canFold || !Graph.canUnfoldAll;
  byId("close").hidden = !canFold;
  byId("title").textContent = model.source;

  Graph.draw();
  goTo(0, { keep: true });
  Graph.start();
  followFragment();
})();
