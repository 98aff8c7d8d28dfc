/* Python with NumPy and onnxwalk, in a worker: files come in, values go out. */

let call = null, FS = null, last = 0;

const report = (title, done, total) => {
  const now = performance.now();
  if (now - last < 80 && done !== total) return;
  last = now;
  postMessage({ progress: [title, done, total] });
};

async function start({ base, pyodide: address, lock }) {
  const home = new URL(address, base).href;
  const { loadPyodide } = await import(`${home}pyodide.mjs`);
  const archive = fetch(new URL("onnxwalk.zip", base)).then(answer => answer.arrayBuffer());
  const pyodide = await loadPyodide({ indexURL: home, lockFileURL: home + lock, packages: ["numpy"],
    stdout: () => {}, stderr: () => {} });
  FS = pyodide.FS;
  pyodide.unpackArchive(await archive, "zip", { extractDir: "/packages" });
  const serve = pyodide.runPython(`
import sys
sys.path.insert(0, "/packages")
from onnxwalk.interpreter.playground.engine import serve
serve`);
  call = serve(report);
  postMessage({ ready: true });
}

/** Write a Blob into the worker's file system, piece by piece. */
async function store(blob, path) {
  const file = FS.open(path, "w");
  try {
    FS.truncate(path, blob.size); // or it would grow, and be copied, again and again
    let done = 0;
    for (const reader = blob.stream().getReader();;) {
      const { done: isEnd, value } = await reader.read();
      if (isEnd) return;
      FS.write(file, value, 0, value.length, done);
      done += value.length;
      report("reading the file", done, blob.size);
    }
  } finally {
    FS.close(file);
  }
}

function emptied(folder) {
  if (FS.analyzePath(folder).exists)
    for (const name of FS.readdir(folder)) if (!/^\.\.?$/.test(name)) FS.unlink(`${folder}/${name}`);
  FS.mkdirTree(folder);
  return folder;
}

/** A model's files, and of a demo its samples; the first .onnx file is the model. */
async function storeModel({ slot, files, samples }) {
  const folder = emptied(`/models/${slot}`);
  for (const file of files) await store(file.blob, `${folder}/${file.name}`);
  const model = files.find(file => /\.(onnx|ort|pb)$/i.test(file.name)) || files[0];
  return { slot, path: `${folder}/${model.name}`, samples: samples ?? null };
}

/** The settings with paths in place of the Blobs in them. */
async function storeInputs({ settings }) {
  const stored = {};
  let number = 0;
  for (const [name, { blob, ...rest }] of Object.entries(settings)) {
    stored[name] = rest;
    if (!blob) continue;
    const folder = emptied(`/inputs/${number++}`);
    stored[name].path = `${folder}/${rest.file || "values"}`;
    await store(blob, stored[name].path);
  }
  return { settings: stored };
}

const PREPARE = { open: storeModel, run: storeInputs, compare: storeInputs };

async function answer({ id, method, values }) {
  const prepare = PREPARE[method] || (given => given);
  let given;
  try {
    given = await prepare(values);
  } catch (error) { // a file that was moved or changed since it was chosen, or is too large
    return postMessage({ id, error: `the file can't be read: ${error.message || error}` });
  }
  const found = call(method, JSON.stringify(given));
  if (typeof found === "string") return postMessage({ id, ...JSON.parse(found) });
  const bytes = found.toJs();
  found.destroy();
  postMessage({ id, result: bytes }, [bytes.buffer]);
}

let turn = Promise.resolve(); // one after the other
addEventListener("message", ({ data }) => {
  turn = turn.then(() => data.start ? start(data.start) : answer(data))
    .catch(error => {
      const lines = String(error.message || error).split("\n").filter(Boolean);
      postMessage({ fatal: lines.findLast(line => /^\w*(Error|Exception)\b/.test(line)) || lines.at(-1) });
    });
});
