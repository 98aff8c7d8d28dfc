"use strict";
/* The explorer in the page's frame: its data come from the page, not from the file. */

/** What the explorer asks the page for: see HOST in explorer/app.js. */
window.HOST = {
  download: name => parent.postMessage({ download: name }, location.origin),
  saliency: () => parent.postMessage({ saliency: true }, location.origin),
};

addEventListener("message", event => {
  if (event.source !== parent || event.origin !== location.origin || event.data.data === undefined) return;
  document.getElementById("data").textContent = event.data.data;
  for (const name of document.body.dataset.scripts.split(" ")) {
    const script = document.createElement("script");
    script.async = false; // in this order
    script.src = name;
    document.body.append(script);
  }
}, { once: true });
parent.postMessage({ ready: true }, location.origin);
