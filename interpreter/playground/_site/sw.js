/* Keeps the page's files, so that it works without a network after the first visit. */
importScripts("files.js");

const HERE = new URL("./", location);
const OURS = `onnxwalk playground ${HERE.pathname} `; // other pages of this host have caches too
const NAME = OURS + SITE.version;

addEventListener("install", event => event.waitUntil((async () => {
  const cache = await caches.open(NAME);
  await cache.addAll(["./", ...SITE.files].map(file => new Request(file, { cache: "no-cache" })));
  await skipWaiting();
})()));

addEventListener("activate", event => event.waitUntil((async () => {
  for (const name of await caches.keys())
    if (name.startsWith(OURS) && name !== NAME) await caches.delete(name);
  await clients.claim();
})()));

addEventListener("fetch", event => {
  const address = new URL(event.request.url);
  if (event.request.method !== "GET" || address.origin !== HERE.origin) return;
  event.respondWith((async () => {
    const cache = await caches.open(NAME);
    return await cache.match(event.request, { ignoreSearch: true }) || fetch(event.request);
  })());
});
