// The panel beside the stage (over it on a phone): one of chat, people, more at a time.

import { $ } from "./dom.js";
import { onLanguage, t } from "./texts.js";

const TITLES = { chat: "chat.title", people: "people.title", more: "more.title" };

export class Panel {
  /** `changed(name or null)` after it opened, closed or switched. */
  constructor(changed) {
    this.changed = changed;
    this.name = null;
    this.buttons = [...document.querySelectorAll("[data-panel]")];
    for (const button of this.buttons) button.onclick = () => this.open(this.name === button.dataset.panel ? null : button.dataset.panel);
    $("side-close").onclick = () => this.open(null);
    $("side").addEventListener("keydown", (event) => { if (event.key === "Escape") this.open(null); });
    onLanguage(() => this.#title());
  }

  open(name) {
    const before = this.name;
    this.name = name;
    $("side").hidden = !name;
    for (const key of Object.keys(TITLES)) $(`panel-${key}`).hidden = key !== name;
    for (const button of this.buttons) button.setAttribute("aria-expanded", button.dataset.panel === name);
    this.#title();
    if (name) $("side-title").focus({ preventScroll: true });
    else this.buttons.find((b) => b.dataset.panel === before)?.focus({ preventScroll: true });
    this.changed(name);
  }

  #title() {
    if (this.name) $("side-title").textContent = t(TITLES[this.name]);
  }
}
