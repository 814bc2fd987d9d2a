// The mark that shows a recording, the question for consent, and starting and stopping for those who may.

import { $, el } from "./dom.js";
import { onLanguage, t } from "./texts.js";

export class Recording {
  /** `room`: {me, name(id), ask(message), note(text)}. */
  constructor(room) {
    this.room = room;
    this.now = { state: "off", by: null, asked: [], consented: [], refused: [] };
    $("record").onclick = () => this.#press();
    $("consent-yes").onclick = () => this.#answer(true);
    $("consent-no").onclick = () => this.#answer(false);
    $("consent-dialog").addEventListener("cancel", (event) => event.preventDefault()); // an answer, not a slip of a finger on Escape
    onLanguage(() => this.paint());
  }

  get on() { return this.now.state !== "off"; }
  get #may() { return (this.room.me?.rights.includes("record") && (this.on || this.room.limits.record !== false)) ?? false; }
  get #given() { return this.now.consented.includes(this.room.me?.id); }

  take(recording, reason) {
    this.now = recording;
    this.paint();
    if (!reason) return;
    if (reason === "refused" && this.#may) {
      const names = recording.refused.map((id) => this.room.name(id)).join(", ") || t("record.someone");
      this.room.note(t("record.refused", { names }));
    } else if (["failed", "disk-full", "limit", "timeout", "stopped"].includes(reason)) this.room.note(t(`record.${reason}`));
  }

  #press() {
    if (this.#may) this.room.ask({ type: "record", on: !this.on });
    else this.#answer(false);
  }

  #answer(given) {
    $("consent-dialog").close();
    this.room.ask({ type: "consent", given });
  }

  paint() {
    const { state, by, asked } = this.now, me = this.room.me?.id, mark = $("recording-mark");
    mark.hidden = !this.on;
    mark.dataset.state = state;
    mark.replaceChildren(...(this.on ? [el("span", {}, t(`record.${state}`))] : []));
    mark.title = this.on ? t(`record.${state}`) : "";
    if (this.on) mark.setAttribute("aria-label", mark.title);
    const button = $("record");
    button.hidden = !this.#may && !(this.on && this.#given);
    button.lastElementChild.textContent = t(!this.#may ? "consent.withdraw" : this.on ? "record.stop" : "record.start");
    const question = (state === "asking" || state === "paused") && asked.includes(me) && !this.#given;
    $("consent-text").textContent = t("consent.text", { name: this.room.name(by) || t("role.doctor") });
    if (question && !$("consent-dialog").open) $("consent-dialog").showModal();
    else if (!question && $("consent-dialog").open) $("consent-dialog").close();
  }
}
