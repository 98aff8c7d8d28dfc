// Python in Pyodide, as a program:  node pyodide.mjs PYODIDE FOLDER ROOT [-c CODE | FILE] [ARGUMENT …]
// PYODIDE: the folder of a distribution, with NumPy's wheel. It sees ROOT and FOLDER at their paths.
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [pyodide, folder, root, ...args] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(join(pyodide, "pyodide.mjs")));
const py = await loadPyodide({ indexURL: pyodide, packageCacheDir: pyodide });
await py.loadPackage("numpy", { messageCallback: () => {} });
for (const path of [folder, root]) {
  py.FS.mkdirTree(path);
  py.FS.mount(py.FS.filesystems.NODEFS, { root: path }, path);
}
py.setStdout({ write: (bytes) => (process.stdout.write(bytes), bytes.length) });
py.setStderr({ write: (bytes) => (process.stderr.write(bytes), bytes.length) });
py.globals.set("arguments", py.toPy([root, ...args]));
process.exitCode = py.runPython(`
import os, runpy, sys, traceback
root, *sys.argv = arguments
os.chdir(root)
sys.path.insert(0, root)
try:
    if sys.argv[0] == "-c":
        exec(sys.argv[1], {"__name__": "__main__"})
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
    status = 0
except SystemExit as end:
    status = end.code or 0
except BaseException:
    traceback.print_exc()
    status = 1
sys.stdout.flush()
int(status)
`);
