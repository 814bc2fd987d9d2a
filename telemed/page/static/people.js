// Who is in the room and who waits outside; admitting, muting and removing for those who may.

import { $, el, say } from "./dom.js";
import { onLanguage, t } from "./texts.js";

export class People {
  /** `room`: {me, people, tracks(), ask(message)}: see room.js. */
  constructor(room) {
    this.room = room;
    this.waiting = new Map();
    this.watchers = 0;
    this.quality = new Map(); // participant -> level
    onLanguage(() => this.paint());
  }

  clear() {
    this.waiting.clear();
    this.quality.clear();
    this.watchers = 0;
  }

  waits(person, loud = true) {
    this.waiting.set(person.id, person);
    if (loud) say(t("people.asks", { name: person.name, role: t(`role.${person.role}`) }));
    this.paint();
  }

  waitsNoMore(id) {
    this.waiting.delete(id);
    this.paint();
  }

  #may(right) { return this.room.me?.rights.includes(right) ?? false; }

  #button(text, act, extra = {}) {
    return el("button", { type: "button", class: "small-button second", onclick: act, ...extra }, text);
  }

  #admit(person) { return this.#button(t("people.admit"), () => this.room.ask({ type: "admit", participant: person.id }), { class: "small-button" }); }
  #refuse(person) { return this.#button(t("people.refuse"), () => this.room.ask({ type: "refuse", participant: person.id })); }

  paint() {
    const { me, people } = this.room;
    const waiting = [...this.waiting.values()];
    $("people-badge").hidden = !waiting.length;
    $("people-badge").textContent = waiting.length || "";
    this.#banner(waiting);
    $("waiting-list").replaceChildren(...(waiting.length ? [el("div", { class: "waiting-box" }, el("h3", {}, t("people.waiting")),
      el("ul", { class: "people" }, ...waiting.map((p) => el("li", {}, this.#name(p), el("div", { class: "acts" }, this.#admit(p), this.#refuse(p))))),
      waiting.length > 1 ? this.#button(t("people.admit-all"), () => this.room.ask({ type: "admit", all: true })) : null)] : []));
    const rows = [];
    if (me) rows.push(el("li", {}, this.#name(me, true)));
    for (const person of people.values()) rows.push(el("li", {}, this.#name(person), el("div", { class: "acts" }, ...this.#acts(person))));
    if (this.watchers) rows.push(el("li", { class: "soft" }, t("people.watchers", { n: this.watchers })));
    $("people-list").replaceChildren(...rows);
  }

  /** The first who waits, in sight of a doctor whose panel is closed. */
  #banner(waiting) {
    const person = waiting[0];
    $("ask-in").hidden = !person || !this.#may("admit");
    if (!person) { $("ask-in").replaceChildren(); return; }
    $("ask-in").replaceChildren(el("p", {}, t("people.asks", { name: person.name, role: t(`role.${person.role}`) }), waiting.length > 1 ? ` (+${waiting.length - 1})` : ""),
      el("div", { class: "two-buttons" }, this.#admit(person), this.#refuse(person)));
  }

  #name(person, mine = false) {
    const parts = [t(`role.${person.role}`)];
    if (person.hand) parts.push(t("people.hand"));
    if (person.link === "down") parts.push(t("people.down"));
    else if (this.quality.has(person.id)) parts.push(t(`quality.${this.quality.get(person.id)}`));
    return el("div", { class: "name" }, mine ? `${person.name} (${t("you").toLowerCase()})` : person.name, el("small", {}, parts.join(" · ")));
  }

  #acts(person) {
    const acts = [], microphone = [...this.room.tracks()].find((track) => track.participant === person.id && track.source === "microphone");
    if (this.#may("mute") && microphone && !microphone.muted) {
      acts.push(this.#button(t("people.mute"), () => this.room.ask({ type: "mute", track: microphone.id, muted: true })));
    }
    if (this.#may("remove") && !person.rights?.includes("remove")) {
      let sure = false;
      acts.push(this.#button(t("people.remove"), ({ currentTarget }) => {
        if (sure) this.room.ask({ type: "remove", participant: person.id });
        sure = true;
        currentTarget.textContent = t("people.remove-sure", { name: person.name });
        currentTarget.className = "small-button danger";
      }));
    }
    return acts;
  }
}
