// Messages for later that came for this room, for those who receive people in it: a list, and playing one.

import { $, el, size } from "./dom.js";
import { authorization } from "./entry.js";
import { lang, onLanguage, t } from "./texts.js";

export class Letters {
  /** `url`: where they are; `entry`: who we are; `note(text)`: a line for the person here. */
  constructor({ url, entry, note }) {
    Object.assign(this, { url, entry, note });
    this.list = []; // records, the newest first
    this.players = new Map(); // id -> element
    onLanguage(() => this.paint());
  }

  async load() {
    try {
      const answer = await this.#fetch(this.url);
      if (answer.ok) { this.list = (await answer.json()).messages; this.paint(); }
    } catch { /* no link: the next welcome asks again */ }
  }

  came(message) {
    if (this.list.some((known) => known.id === message.id)) return;
    this.list.unshift(message);
    this.paint();
    this.note(t("letters.new", { name: message.name }));
  }

  clear() {
    this.list = [];
    for (const player of this.players.values()) URL.revokeObjectURL(player.src);
    this.players.clear();
    this.paint();
  }

  #fetch(url) {
    return fetch(url, { headers: authorization(this.entry.bearer()), credentials: "same-origin", cache: "no-store" });
  }

  async #open(message, button) {
    button.disabled = true;
    button.textContent = t("letters.opening");
    try {
      const answer = await this.#fetch(`${this.url}/${message.id}`);
      if (!answer.ok) throw new Error(String(answer.status));
      const player = el("video", { controls: true, playsInline: true, preload: "auto", "aria-label": t("letters.from", { name: message.name }) });
      player.src = URL.createObjectURL(await answer.blob());
      this.players.set(message.id, player);
      this.paint();
      player.play().catch(() => {}); // then the person presses play
    } catch {
      button.disabled = false;
      button.textContent = t("letters.open");
      this.note(t("letters.failed"));
    }
  }

  paint() {
    $("letters").hidden = !this.list.length;
    $("letters-list").replaceChildren(...this.list.map((message) => {
      const time = new Date(message.created).toLocaleString(lang() === "vi" ? "vi-VN" : "en-GB", { dateStyle: "short", timeStyle: "short" });
      const name = el("div", { class: "name" }, message.name, el("small", {}, `${t(`role.${message.role}`)} · ${time} · ${size(message.length)}`));
      const player = this.players.get(message.id);
      return el("li", {}, name, player ?? el("button", { type: "button", class: "small-button", onclick: ({ currentTarget }) => this.#open(message, currentTarget) }, t("letters.open")));
    }));
  }
}
