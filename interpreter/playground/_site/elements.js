/* Small helpers for elements. */

export const byId = id => document.getElementById(id);

/** An element: make("p", {class: "note"}, "text", child, …) */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}

/** Buttons of which one is pressed: [[key, text], …] */
export function choice(title, names, chosen, choose) {
  const row = make("div", { class: "choice", role: "group", "aria-label": title });
  row.append(...names.map(([key, text]) => make("button", { type: "button",
    "aria-pressed": String(key === chosen), "data-key": key, onclick: event => {
      for (const other of row.children) other.setAttribute("aria-pressed", String(other === event.currentTarget));
      choose(key);
    } }, text)));
  return row;
}

export function megabytes(bytes) {
  return bytes < 1e5 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Let the user save bytes as a file. */
export function save(bytes, name) {
  const address = URL.createObjectURL(new Blob([bytes]));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
