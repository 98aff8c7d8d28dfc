/* The worker from the page's side: calls, progress, and a new worker where one died or hangs. */

/** A worker that fails so often before it is ready isn't started once more. */
const MOST_FAILURES = 3;

export class Client {
  /** `settings`: what the worker is started with, and `silence`, a function: without a word for so many
      seconds a worker is taken for dead. `tell(title, done, total)` hears of progress, `ready(seconds)` of a worker that can be called. */
  constructor({ silence, ...settings }, tell, ready) {
    Object.assign(this, { settings, silence, tell, ready, calls: new Map(), next: 0, watch: null, failures: 0 });
    this.start();
  }

  start() {
    const address = new URL("worker.js", document.baseURI).href;
    // A worker made from text is under this page's policy; one from an address would be under none.
    const source = URL.createObjectURL(new Blob([`import ${JSON.stringify(address)};`],
      { type: "text/javascript" }));
    this.begun = performance.now();
    this.worker = new Worker(source, { type: "module" });
    this.started = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    this.started.catch(() => {});
    this.worker.addEventListener("message", ({ data }) => this.hear(data));
    this.worker.addEventListener("error", event => {
      event.preventDefault();
      this.restart(event.message || "its files couldn't be loaded");
    });
    this.worker.postMessage({ start: this.settings });
  }

  hear(message) {
    this.listen();
    if (message.progress) return this.tell(...message.progress);
    if (message.ready) {
      this.failures = 0;
      this.resolve();
      return this.ready((performance.now() - this.begun) / 1000);
    }
    if (message.fatal) return this.restart(message.fatal);
    const call = this.calls.get(message.id);
    this.calls.delete(message.id);
    if (!call) return;
    if (message.error) call.reject(new Error(message.error));
    else call.resolve(message.result);
  }

  /** Begin anew to wait for a word of the worker. */
  listen() {
    clearTimeout(this.watch);
    if (!this.calls.size) return;
    const seconds = this.silence();
    this.watch = setTimeout(() => this.restart(`it gave no sign of life for ${seconds} s`), seconds * 1000);
  }

  /** Call a method of the engine; rejected with its one-line error. */
  call(method, values = {}) {
    const id = this.next++;
    const answer = new Promise((resolve, reject) => this.calls.set(id, { resolve, reject }));
    this.started.then(() => {
      if (!this.calls.has(id)) return; // that worker was ended before it began
      this.listen();
      this.worker.postMessage({ id, method, values });
    }, () => {});
    return answer;
  }

  /** End the worker, and what was called; a new one begins. */
  restart(reason) {
    this.worker.terminate();
    clearTimeout(this.watch);
    const error = Object.assign(new Error(reason), { ended: true });
    this.reject(error);
    const calls = [...this.calls.values()];
    this.calls.clear();
    if (++this.failures < MOST_FAILURES) this.start();
    for (const call of calls) call.reject(error);
    if (!calls.length) this.tell(`Python has ended: ${reason}`, 0, 1);
  }
}
