// One engine with one model: answers each line, a number of seconds, with [fastest, median] of the
// nanoseconds of its runs.
//   node web.mjs PACKAGES pyodide:NUMPY:CHECKOUT|onnxruntime-web MODEL FEEDS
// FEEDS is JSON: for each input {name, type, shape, file}, the file with its plain bytes.
import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";
import { pathToFileURL } from "node:url";

const [packages, engine, modelFile, feedsFile] = process.argv.slice(2);
const feeds = JSON.parse(fs.readFileSync(feedsFile, "utf8"));
const bytesOf = (file) => new Uint8Array(fs.readFileSync(file)).slice();
const load = (file) => import(pathToFileURL(path.join(packages, "node_modules", file)).href);

async function onnxruntimeWeb() {
  const ort = await load("onnxruntime-web/dist/ort.wasm.bundle.min.mjs");
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(bytesOf(modelFile), { executionProviders: ["wasm"] });
  const arrays = { float32: Float32Array, int32: Int32Array, int64: BigInt64Array };
  const tensors = {};
  for (const { name, type, shape, file } of feeds) {
    tensors[name] = new ort.Tensor(type, new arrays[type](bytesOf(file).buffer), shape);
  }
  return async (seconds) => {
    const times = [];
    const end = performance.now() + 1000 * seconds;
    while (!times.length || performance.now() < end) {
      const begun = performance.now();
      await session.run(tensors);
      times.push(1e6 * (performance.now() - begun));
    }
    times.sort((a, b) => a - b);
    return [times[0], times[times.length >> 1]];
  };
}

const PYTHON = `
import sys, time
sys.dont_write_bytecode = True
sys.path.insert(0, "/checkout")
import numpy as np, onnxwalk
session = onnxwalk.load("/model.onnx")
feeds = {f["name"]: np.frombuffer(f["bytes"], f["type"]).reshape(f["shape"]) for f in feeds}

def run(seconds):
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        begun = time.perf_counter_ns()
        session.run(None, feeds)
        times.append(time.perf_counter_ns() - begun)
    return [min(times), sorted(times)[len(times) // 2]]
`;

async function pyodide(numpy, checkout) {
  const distribution = path.dirname(numpy);
  const { loadPyodide } = await import(pathToFileURL(path.join(distribution, "pyodide.mjs")).href);
  const python = await loadPyodide({ indexURL: distribution });
  python.unpackArchive(bytesOf(numpy).buffer, "wheel");
  python.FS.mkdir("/checkout");
  python.FS.mount(python.FS.filesystems.NODEFS, { root: checkout }, "/checkout");
  python.FS.writeFile("/model.onnx", bytesOf(modelFile));
  const given = feeds.map((f) => ({ ...f, bytes: bytesOf(f.file) }));
  python.globals.set("feeds", python.toPy(given));
  await python.runPythonAsync(PYTHON);
  const run = python.globals.get("run");
  return (seconds) => {
    const found = run(seconds);
    const [fastest, median] = found.toJs();
    found.destroy();
    return [Number(fastest), Number(median)];
  };
}

const [kind, numpy, checkout] = engine.split(":");
const run = kind === "pyodide" ? await pyodide(numpy, checkout) : await onnxruntimeWeb();
for (let i = 0; i < 3; i++) await run(0);
console.log("ready");
for await (const line of readline.createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await run(Number(line))));
}
