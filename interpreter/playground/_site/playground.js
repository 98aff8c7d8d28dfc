/* The page: a model is opened, fed, run and shown. */

import { Client } from "./client.js";
import { byId, make, megabytes, save } from "./elements.js";
import { Input } from "./inputs.js";

const MOST_BYTES = 800e6; // of a model's files: a tab has 2 to 4 GB, and they are in it twice
const { pyodide, lock } = document.body.dataset;
const settings = { base: document.baseURI, pyodide, lock, silence: () => +document.body.dataset.silence };
const view = byId("view"), state = byId("state"), bar = byId("bar");
const opened = { a: null, b: null }; // what `open` was called with, for a new worker
let inputs = [], busy = 0, model = null;

const client = new Client(settings, tell, seconds => {
  document.body.dataset.ready = seconds.toFixed(2);
  if (!busy) rest(`ready, after ${seconds.toFixed(1)} s`);
  for (const slot of ["a", "b"]) if (opened[slot]?.lost) reopen(slot);
});

/* --- progress and errors --- */

function tell(title, done, total) {
  state.textContent = title.endsWith("…") || total === 1 ? title : `${title} …`;
  bar.hidden = total === 1;
  if (total > 1) Object.assign(bar, { max: total, value: done });
  else bar.removeAttribute("value");
}

function rest(text) {
  state.textContent = text;
  bar.hidden = true;
}

function fail(error) {
  byId("error").hidden = false;
  byId("error").textContent = error.message || String(error);
  byId("error").scrollIntoView({ block: "nearest" });
}

/** Do something that takes a while: with progress, a button that ends it, and its error shown. */
async function working(title, action) {
  byId("error").hidden = true;
  busy++;
  byId("stop").hidden = false;
  // Not disabled, or it would lose the focus, and whoever uses the keys their place; run() looks itself.
  byId("run").setAttribute("aria-disabled", "true");
  tell(title, 0, 0);
  const start = performance.now();
  try {
    const found = await action();
    rest(`${title}: ${((performance.now() - start) / 1000).toFixed(2)} s`);
    return found;
  } catch (error) {
    rest(`${title}: failed`);
    if (error.ended) for (const slot of ["a", "b"]) if (opened[slot]) opened[slot].lost = true;
    fail(error.ended ? new Error(`Python was ended and started anew: ${error.message}`) : error);
    return null;
  } finally {
    busy--;
    if (!busy && document.activeElement === byId("stop")) byId("run").focus(); // it vanishes
    byId("stop").hidden = !busy;
    byId("run").setAttribute("aria-disabled", String(busy > 0));
  }
}

byId("stop").addEventListener("click", () => client.restart("you stopped it"));

/* --- models --- */

async function open(slot, files, samples = null) {
  const size = files.reduce((sum, file) => sum + file.blob.size, 0);
  if (size > MOST_BYTES) return fail(new Error(
    `${files[0].name}: ${megabytes(size)} are more than a page can hold, ${megabytes(MOST_BYTES)}`));
  opened[slot] = { slot, files, samples };
  const found = await working(`opening ${files[0].name}`, () => client.call("open", opened[slot]));
  if (!found) {
    if (!opened[slot].lost || slot === "a") opened[slot] = null; // it may be what ended the worker
    return null;
  }
  return { ...found, size };
}

async function openFirst(files, samples) {
  const found = await open("a", files, samples);
  if (!found) return;
  opened.b = null; // it was compared with another
  model = found;
  inputs.forEach(input => input.stop?.());
  inputs = model.inputs.map(input => new Input(input, fail, run));
  const opsets = Object.entries(model.opsets).map(([domain, n]) => `${domain} ${n}`).join(", ");
  byId("model").replaceChildren(
    make("p", { class: "name" }, make("b", {}, model.name), ` ${megabytes(model.size)}`),
    make("p", { class: "note" }, `${model.nodes.toLocaleString("en")} nodes, opset ${opsets}`),
    make("p", { class: "note" }, `Output: ${model.outputs.join("; ")}`),
    ...model.notes.map(text => make("p", { class: "note" }, text)));
  byId("inputs").replaceChildren(...inputs.map(input => input.element));
  if (!inputs.length) byId("inputs").append(make("p", { class: "note" }, "The model has no inputs."));
  byId("opened").hidden = false;
  byId("compared").replaceChildren();
  if (inputs.every(input => ["sample", "random"].includes(input.kind))) await run();
  else byId("run").focus();
}

/** Open a model once more, in a worker that has begun in place of a dead one. */
async function reopen(slot) {
  opened[slot].lost = false;
  const found = await working(`opening ${opened[slot].files[0].name} again`,
    () => client.call("open", opened[slot]));
  if (!found) opened[slot] = null;
}

const named = list => [...list].map(file => ({ name: file.name, blob: file }));

function take(list, slot) {
  if (!list.length) return;
  if (slot === "b") compare(named(list));
  else openFirst(named(list));
}

for (const [id, slot] of [["files", "a"], ["files-b", "b"]])
  byId(id).addEventListener("change", event => {
    take(event.target.files, slot);
    event.target.value = ""; // so that the same file can be chosen again
  });
addEventListener("dragover", event => {
  event.preventDefault();
  byId("drop").classList.add("over");
});
addEventListener("dragleave", event => { if (!event.relatedTarget) byId("drop").classList.remove("over"); });
addEventListener("drop", event => {
  event.preventDefault();
  byId("drop").classList.remove("over");
  take(event.dataTransfer.files, event.target.closest?.("#compare") ? "b" : "a");
});

for (const button of document.querySelectorAll("[data-demo]"))
  button.addEventListener("click", async () => {
    const names = [button.dataset.demo, "samples.npz"];
    try {
      const blobs = await Promise.all(names.map(async name => (await fetch(`demo/${name}`)).blob()));
      await openFirst(names.map((name, i) => ({ name, blob: blobs[i] })), button.dataset.samples);
    } catch (error) {
      fail(error);
    }
  });

/* --- runs --- */

/** What all inputs are fed, by name; null, and the error shown, if something is missing. */
function chosen() {
  try {
    return Object.fromEntries(inputs.map(input => [input.described.name, input.settings()]));
  } catch (error) {
    fail(error);
    return null;
  }
}

async function run() {
  const settings = chosen();
  if (!settings || busy) return;
  const data = await working("run", () => client.call("run", { settings }));
  if (!data) return;
  if (matchMedia("(max-width:800px)").matches) byId("shown").scrollIntoView(); // it is below all this
  for (const input of inputs)
    input.tell(data.notes[input.described.name], data.origins[input.described.name]);
  show(data);
}

byId("inputs").addEventListener("submit", event => {
  event.preventDefault();
  run();
});

/* --- the explorer's frame --- */

let shownData = null, shownName = "", where = "";

/** Show a run; of the same model at the node that was looked at, else at the first output. */
function show(data) {
  const first = data.nodes.find(node => node.op === "Output");
  const same = shownName === model.name && !view.hidden;
  where = same ? view.contentWindow.location.hash : first ? `#node=${encodeURIComponent(`output:${first.name}`)}` : "";
  shownName = model.name;
  shownData = JSON.stringify(data);
  byId("welcome").hidden = true;
  view.hidden = false;
  // A new document: the explorer is made for one run.
  view.contentWindow.location.replace(new URL(`view.html?${performance.now()}${where}`, document.baseURI));
}

addEventListener("message", async event => {
  if (event.source !== view.contentWindow || event.origin !== location.origin) return;
  const { ready, download, saliency } = event.data;
  if (ready && shownData !== null) view.contentWindow.postMessage({ data: shownData }, location.origin);
  if (download !== undefined) {
    const bytes = await working(`computing ${download}`, () => client.call("value", { name: download }));
    if (bytes) save(bytes, `${download.replace(/[^\w.-]+/g, "_").slice(-80)}.npy`);
  }
  if (saliency) {
    const found = await working("saliency", () => client.call("saliency"));
    if (found) view.contentWindow.postMessage({ found }, location.origin);
  }
});

/* --- comparing --- */

async function compare(files) {
  const settings = chosen();
  if (!settings || !await open("b", files)) return;
  const found = await working("compare", () => client.call("compare", { settings }));
  if (!found) return;
  const error = value => value === null ? "∞" : value === 0 ? "0" : value.toExponential(1);
  const link = row => make("a", { href: "#", onclick: event => {
    event.preventDefault();
    if (!view.hidden) view.contentWindow.postMessage({ value: row.name }, location.origin);
  } }, row.value);
  byId("compared").replaceChildren(
    make("p", { class: "verdict" }, found.equal ? `All ${found.compared} values are equal within the tolerance.`
      : `${found.differing} of ${found.compared} values differ. The first is `,
    found.first ? link(found.first) : null,
    found.first ? ` (${found.first.operator}${found.first.reason ? `: ${found.first.reason}` : ""}).` : null),
    found.alone ? make("p", { class: "note" }, `${found.alone} values are in one of the models only.`) : "",
    make("table", {}, make("thead", {}, make("tr", {}, ...["value", "operator", "relative", "absolute"].map(
      title => make("th", {}, title)))),
    make("tbody", {}, ...found.rows.slice(0, 100).map(row => make("tr", row.equal ? {} : { class: "differs" },
      make("td", {}, link(row)), make("td", {}, row.operator), make("td", {}, error(row.relative)),
      make("td", {}, error(row.absolute)))))));
}

/* --- themes, help, offline --- */

function theme(kept) {
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
}
try {
  theme(localStorage.getItem("onnxwalk-theme"));
} catch { /* storage may be forbidden */ }
addEventListener("storage", event => { if (event.key === "onnxwalk-theme") theme(event.newValue); });
byId("theme").addEventListener("click", () => {
  const set = document.documentElement.dataset.theme ||
    (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  theme(set === "dark" ? "light" : "dark");
  try {
    localStorage.setItem("onnxwalk-theme", document.documentElement.dataset.theme);
  } catch { /* as above */ }
});
byId("limits").textContent = `Limits: models of up to ${megabytes(MOST_BYTES)}; a run may take 60 s and 1 GiB of ` +
  "memory beyond that, and what would take more is refused before it begins.";
byId("about").addEventListener("click", () => byId("help").showModal());
if ("serviceWorker" in navigator) navigator.serviceWorker.register("sw.js").catch(() => {});
