/* node compile.mjs DISTRIBUTION archives.py FILE …: compiles the Python files in each zip file FILE with
   the Python of a Pyodide distribution, in place. */

import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, code, ...files] = process.argv.slice(2);
const home = resolve(folder) + "/";
const { loadPyodide } = await import(pathToFileURL(join(home, "pyodide.mjs")));
const pyodide = await loadPyodide({ indexURL: home });
pyodide.FS.writeFile("/archives.py", readFileSync(code, "utf8"));
for (const file of files) {
  pyodide.FS.writeFile("/file.zip", new Uint8Array(readFileSync(file)));
  pyodide.runPython(`
import sys
sys.path.insert(0, "/")
from pathlib import Path
from archives import compiled
Path("/file.zip").write_bytes(compiled(Path("/file.zip").read_bytes()))
`);
  writeFileSync(file, pyodide.FS.readFile("/file.zip"));
}
