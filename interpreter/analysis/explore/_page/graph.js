"use strict";
/* The graph: groups, layout (by dagre), drawing, zooming, panning. */

const Graph = (() => {
  const nodes = DATA.nodes;
  const svg = byId("graph");
  const world = makeSvg("g");
  const MOST_SHOWN = 60; // nodes and groups that are expanded at the start, at most
  const MOST_LAID_OUT = 1500; // more nodes take too long to lay out
  const places = { scale: 1, x: 0, y: 0 };
  let layout = null;
  let selected = null;
  let open = new Set();

  /* --- groups --- */

  const groups = new Map(); // key -> {key, name, depth, above, nodes, kinds}
  const above = nodes.map((node, i) => {
    let key = null;
    (node.group || []).forEach((name, depth) => {
      const inner = JSON.stringify(node.group.slice(0, depth + 1));
      if (!groups.has(inner))
        groups.set(inner, { key: inner, name, depth, above: key, nodes: [], groups: new Set() });
      groups.get(inner).nodes.push(i);
      if (key !== null) groups.get(key).groups.add(inner);
      key = inner;
    });
    return key;
  });

  const madeBy = new Map(); // value -> node
  const readBy = new Map(); // value -> nodes
  nodes.forEach((node, i) => node.out.forEach(([, value]) => madeBy.set(value, i)));
  nodes.forEach((node, i) => node.in.forEach(([, value]) => {
    if (!readBy.has(value)) readBy.set(value, []);
    readBy.get(value).push(i);
  }));

  /** The groups around a node, from the outermost. */
  function around(i) {
    const found = [];
    for (let key = above[i]; key !== null; key = groups.get(key).above) found.unshift(key);
    return found;
  }

  /** The id of what represents a node in the drawing: itself ("12"), or a collapsed group. */
  function shown(i) {
    return around(i).find(key => !open.has(key)) ?? String(i);
  }

  function countShown(unfolded) {
    const before = open;
    open = unfolded;
    const count = new Set(nodes.map((_, i) => shown(i))).size;
    open = before;
    return count;
  }

  /** Expand level by level while there is room. */
  function unfoldSome() {
    let depth = 0;
    for (;;) {
      const level = [...groups.values()].filter(group => group.depth <= depth).map(g => g.key);
      if (level.length === open.size || countShown(new Set(level)) > MOST_SHOWN) return;
      open = new Set(level);
      depth++;
    }
  }

  /* --- layout --- */

  const WIDE = 9, TALL = 46;

  function sizeOf(id) {
    const [first, second] = textsOf(id);
    const text = Math.max(first.length * 7.3, second.length * 6);
    return { width: Math.min(Math.max(text + 34, 96), 230), height: TALL };
  }

  /** Two lines: the operator with the size of its output, and the name. */
  function textsOf(id) {
    const group = groups.get(id);
    if (group) {
      return [shortened(group.name, 24), `${plural(group.nodes.length, "node")}: ${mostUsed(group)}`];
    }
    const node = nodes[+id];
    return [`${node.op}  ${sizeText(node)}`, shortened(shortName(node), 30)];
  }

  /** The operators of a group, as many as fit, the most frequent first. */
  function mostUsed(group) {
    const counts = new Map();
    for (const i of group.nodes) counts.set(nodes[i].op, (counts.get(nodes[i].op) || 0) + 1);
    const names = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a));
    let text = names[0];
    for (const name of names.slice(1)) {
      if (text.length + name.length > 20) return `${text}, …`;
      text += `, ${name}`;
    }
    return text;
  }

  function sizeText(node) {
    const value = (node.out[0] || node.in[0] || [])[1];
    const match = value !== undefined && DATA.values[value].type.match(/\[(.*)\]$/);
    return match ? shortened(match[1].replace(/, /g, "×"), 18) : "";
  }

  function shortName(node) {
    const parts = node.name.split("/");
    return parts.length > 2 ? parts.slice(-2).join("/") : node.name;
  }

  function arranged() {
    const ids = [...new Set(nodes.map((_, i) => shown(i)))];
    const graph = new dagre.Graph({ compound: true });
    // For many nodes the best ranking takes seconds, and frames make the drawing wide.
    const many = ids.length > 250;
    const ranker = many ? "tight-tree" : "network-simplex";
    graph.setGraph({ ranker, nodesep: 22, ranksep: 38, edgesep: 12, marginx: 20, marginy: 20 });
    graph.setDefaultEdgeLabel(() => ({}));
    ids.forEach(id => graph.setNode(id, sizeOf(id)));
    const parents = new Set();
    if (!many) nodes.forEach((_, i) => {
      const id = shown(i);
      let inner = id;
      for (const key of around(i).filter(k => k !== id && open.has(k)).reverse()) {
        if (!parents.has(key)) graph.setNode(key, {});
        parents.add(key);
        graph.setParent(inner, key);
        inner = key;
      }
    });
    const edges = new Map();
    nodes.forEach((node, to) => node.in.forEach(([, value]) => {
      const from = madeBy.get(value);
      if (from === undefined) return;
      const [a, b] = [shown(from), shown(to)];
      if (a !== b) edges.set(JSON.stringify([a, b]), [a, b]);
    }));
    for (const [a, b] of edges.values()) graph.setEdge(a, b, {});
    dagre.layout(graph);
    return { graph, ids, clusters: [...parents] };
  }

  /* --- drawing --- */

  function draw() {
    layout = arranged();
    const { graph, ids, clusters } = layout;
    world.replaceChildren();
    clusters.sort((a, b) => groups.get(a).depth - groups.get(b).depth);
    for (const key of clusters) world.append(drawnFrame(graph.node(key)));
    const ranks = new Set(ids.map(id => Math.round(graph.node(id).y)));
    for (const edge of graph.edges()) {
      const path = makeSvg("path", { class: "edge", d: smooth(route(graph, edge, ranks)) });
      path.dataset.from = edge.v;
      path.dataset.to = edge.w;
      world.append(path);
    }
    for (const key of clusters) world.append(drawnLabel(key, graph.node(key))); // over the edges
    for (const id of ids) world.append(drawnNode(id, graph.node(id)));
    mark();
  }

  const HEAD = 13; // what a frame has above its nodes for its name

  function drawnFrame(box) {
    return makeSvg("g", { class: "cluster" },
      makeSvg("rect", { x: box.x - box.width / 2, y: box.y - box.height / 2 - HEAD, width: box.width,
        height: box.height + HEAD, rx: 10 }));
  }

  function drawnLabel(key, box) {
    const x = box.x - box.width / 2, y = box.y - box.height / 2 - HEAD;
    const label = shortened(groups.get(key).name, Math.max(6, Math.floor(box.width / 7) - 4));
    return makeSvg("g", { class: "cluster label" },
      makeSvg("g", { class: "fold", "data-group": key },
        makeSvg("title", {}, `collapse ${groups.get(key).name}`),
        makeSvg("rect", { class: "hit", x, y, width: label.length * 6.6 + 30, height: 22 }),
        makeSvg("text", { x: x + 9, y: y + 17 }, `▾ ${label}`)));
  }

  function drawnNode(id, box) {
    const group = groups.get(id);
    const x = box.x - box.width / 2, y = box.y - box.height / 2;
    const [first, second] = textsOf(id);
    const kind = group ? "group" : kindOf(nodes[+id].op);
    const g = makeSvg("g", { class: `node ${kind}`, "data-id": id },
      makeSvg("title", {}, group ? group.name : `${nodes[+id].op}: ${nodes[+id].name}`));
    if (group)
      g.append(makeSvg("rect", { class: "behind", x: x + 4, y: y + 4, width: box.width,
        height: box.height, rx: 7 }));
    g.append(makeSvg("rect", { class: "box", x, y, width: box.width, height: box.height, rx: 7 }));
    if (!group)
      g.append(makeSvg("path", { class: "stripe", d:
        `M${x + WIDE - 2} ${y}h-1a6 6 0 0 0-6 6v${box.height - 12}a6 6 0 0 0 6 6h1z` }));
    const [operator, size] = group ? [first, ""] : first.split("  ");
    g.append(makeSvg("text", { class: "operator", x: x + 16, y: y + 19 }, operator));
    if (size) g.append(makeSvg("text", { class: "size", x: x + box.width - 9, y: y + 19 }, size));
    g.append(makeSvg("text", { class: "name", x: x + 16, y: y + 36 }, second));
    if (group)
      g.append(makeSvg("g", { class: "fold", "data-group": id },
        makeSvg("title", {}, `expand ${group.name}`),
        makeSvg("rect", { class: "hit", x: x + box.width - 26, y, width: 26, height: box.height }),
        makeSvg("text", { class: "plus", x: x + box.width - 13, y: y + 20 }, "▸")));
    return g;
  }

  /** The way of an edge: straight down past the nodes of a rank, to the side only between ranks. */
  function route(graph, edge, ranks) {
    const given = graph.edge(edge).points, inner = given.slice(1, -1);
    const [from, to] = [graph.node(edge.v), graph.node(edge.w)];
    const down = given[0].y < given.at(-1).y ? 1 : -1; // folded groups may have edges that go back
    const points = [{ x: from.x, y: from.y + down * from.height / 2 }];
    for (const p of inner) {
      if (ranks.has(Math.round(p.y)))
        points.push({ x: p.x, y: p.y - down * TALL / 2 }, { x: p.x, y: p.y + down * TALL / 2 });
      else points.push(p);
    }
    points.push({ x: to.x, y: to.y - down * to.height / 2 });
    return points;
  }

  function smooth(points) {
    let d = `M${points[0].x} ${points[0].y}`;
    for (let i = 1; i < points.length - 1; i++) {
      const [p, q] = [points[i], points[i + 1]];
      const last = i === points.length - 2;
      d += `Q${p.x} ${p.y} ${last ? q.x : (p.x + q.x) / 2} ${last ? q.y : (p.y + q.y) / 2}`;
    }
    return d;
  }

  /** Mark the selected node, its inputs, and the nodes that run later. */
  function mark() {
    if (selected === null) return;
    const isGroup = groups.has(selected);
    const place = isGroup ? Math.max(...groups.get(selected).nodes) : +selected;
    const id = isGroup ? (layout.ids.includes(selected) ? selected : null) : shown(+selected);
    for (const g of world.querySelectorAll(".node")) {
      const of = groups.get(g.dataset.id);
      const first = of ? of.nodes[0] : +g.dataset.id;
      g.classList.toggle("selected", g.dataset.id === id);
      g.classList.toggle("later", first > place);
    }
    for (const path of world.querySelectorAll(".edge")) {
      path.classList.toggle("into", path.dataset.to === id);
      path.classList.toggle("outof", path.dataset.from === id);
    }
  }

  /* --- looking around --- */

  function place() {
    world.setAttribute("transform",
      `translate(${places.x} ${places.y}) scale(${places.scale})`);
    svg.classList.toggle("far", places.scale < 0.3); // too small for text: colours only
  }

  function zoom(factor, x = svg.clientWidth / 2, y = svg.clientHeight / 2) {
    const scale = Math.min(Math.max(places.scale * factor, 0.02), 3);
    const by = scale / places.scale;
    places.x = x - (x - places.x) * by;
    places.y = y - (y - places.y) * by;
    places.scale = scale;
    place();
  }

  function pan(dx, dy) {
    places.x += dx;
    places.y += dy;
    place();
  }

  function whole() {
    const { width, height } = layout.graph.graph();
    const scale = Math.min(svg.clientWidth / width, svg.clientHeight / height, 1.2);
    Object.assign(places, {
      scale,
      x: (svg.clientWidth - width * scale) / 2,
      y: (svg.clientHeight - height * scale) / 2,
    });
    place();
  }

  /** Scroll to the selected node; with ``always`` to ``down`` of the height. */
  function reveal(always = false, down = 0.4) {
    const id = groups.has(selected) ? selected : shown(+selected);
    const box = layout.graph.node(id);
    if (!box) return;
    const x = places.x + box.x * places.scale, y = places.y + box.y * places.scale;
    const margin = 60;
    const inside = x > margin && x < svg.clientWidth - margin && y > margin &&
      y < svg.clientHeight - margin;
    if (always && places.scale < 0.55) places.scale = 0.85;
    if (always || !inside) {
      places.x = svg.clientWidth / 2 - box.x * places.scale;
      places.y = svg.clientHeight * down - box.y * places.scale;
      place();
    }
  }

  /** The initial view: as much as is readable. */
  function start() {
    const { width, height } = layout.graph.graph();
    const fits = Math.min(svg.clientWidth / width, svg.clientHeight / height);
    if (fits > 0.6) return whole();
    places.scale = Math.min(Math.max(svg.clientWidth / width, 0.6), 1);
    reveal(true, 0.1);
  }

  function listen(onSelect, onToggle) {
    const fingers = new Map();
    let moved = 0, gap = 0;
    svg.addEventListener("wheel", event => {
      event.preventDefault();
      const box = svg.getBoundingClientRect();
      const lines = event.deltaMode === 1 ? 30 : 1;
      zoom(Math.exp(-event.deltaY * lines * 0.0016), event.clientX - box.left,
        event.clientY - box.top);
    }, { passive: false });
    svg.addEventListener("pointerdown", event => {
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      moved = 0;
      gap = 0;
    });
    svg.addEventListener("pointermove", event => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const now = { x: event.clientX, y: event.clientY };
      fingers.set(event.pointerId, now);
      moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
      if (moved > 6 && !svg.hasPointerCapture(event.pointerId))
        svg.setPointerCapture(event.pointerId);
      if (fingers.size === 1) return pan(now.x - before.x, now.y - before.y);
      const [a, b] = [...fingers.values()];
      const box = svg.getBoundingClientRect();
      const wide = Math.hypot(a.x - b.x, a.y - b.y);
      if (gap) zoom(wide / gap, (a.x + b.x) / 2 - box.left, (a.y + b.y) / 2 - box.top);
      gap = wide;
    });
    const release = event => fingers.delete(event.pointerId);
    svg.addEventListener("pointerup", release);
    svg.addEventListener("pointercancel", release);
    svg.addEventListener("click", event => {
      if (moved > 6) return;
      const fold = event.target.closest(".fold");
      const node = event.target.closest(".node");
      if (fold) onToggle(fold.dataset.group);
      else if (node) onSelect(node.dataset.id);
    });
    svg.addEventListener("dblclick", event => {
      const node = event.target.closest(".node.group");
      if (node) onToggle(node.dataset.id);
    });
  }

  svg.append(world);
  unfoldSome();

  return {
    groups, madeBy, readBy, around, listen, start, whole, zoom,
    draw,
    isOpen: key => open.has(key),
    isHidden: i => shown(i) !== String(i),
    canUnfoldAll: nodes.length <= MOST_LAID_OUT,
    select(id, always = false) {
      selected = id;
      mark();
      reveal(always);
    },
    /** Expand the groups around a node or group. */
    uncover(id) {
      const keys = groups.has(id) ? [] : around(+id);
      for (let key = groups.get(id)?.above; key; key = groups.get(key).above) keys.push(key);
      if (keys.every(key => open.has(key))) return;
      keys.forEach(key => open.add(key));
      draw();
    },
    toggle(key) {
      const keep = layout.graph.node(key);
      if (!open.delete(key)) open.add(key);
      draw();
      // Keep the clicked group in its place.
      const now = layout.graph.node(key);
      if (keep && now) pan((keep.x - now.x) * places.scale,
        (keep.y - keep.height / 2 - now.y + now.height / 2) * places.scale);
    },
    setAll(unfolded) {
      open = new Set(unfolded ? groups.keys() : []);
      draw();
    },
  };
})();
