// Small helpers for elements; never from strings of HTML, as names and messages come from others.

export const $ = (id) => document.getElementById(id);

/** An element with properties, `data-` values, event listeners (`on…`) and children. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Changes the icon of a button. */
export const setIcon = (button, name) => button.querySelector("use").setAttribute("href", `#i-${name}`);

/** Says it to screen readers and, for those who see, not at all. */
export function say(text) {
  const place = $("live");
  place.textContent = "";
  setTimeout(() => { place.textContent = text; }, 50);
}

/** Shows one of the screens, focuses its heading, and tells style sheets which it is. */
export function show(screen) {
  if (document.body.dataset.screen === screen && !document.querySelector(`[data-for="${screen}"]`).hidden) return;
  document.body.dataset.screen = screen;
  for (const part of document.querySelectorAll("[data-for]")) part.hidden = part.dataset.for !== screen;
  document.querySelector(`[data-for="${screen}"] h1[tabindex]`)?.focus({ preventScroll: true });
}

export const shown = () => document.body.dataset.screen;

export function size(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Calls `f` once, `wait` ms after the last of several calls. */
export function settle(f, wait) {
  let timer = 0;
  return () => { clearTimeout(timer); timer = setTimeout(f, wait); };
}
