// What covers the stage while the link is gone: what happened, that it mends itself, and what a person may do meanwhile.

import { $ } from "./dom.js";
import { onLanguage, t } from "./texts.js";

const PATIENCE_MS = 1000; // shorter gaps are not worth a fright
const MESSAGE_MS = 8000; // then one may record a message instead of waiting

export class Overlay {
  /** `retry()`, `message()`: what the buttons do; `changed(lost)` when it comes and goes; `takes()`: whether messages can be sent. */
  constructor(retry, message, changed, takes) {
    this.changed = changed;
    this.takes = takes;
    this.reason = "";
    $("overlay-now").onclick = retry;
    $("overlay-message").onclick = message;
    onLanguage(() => this.#paint());
  }

  #timers = [];

  /** reason: "" all is well, media, lost, offline, full. */
  set(reason) {
    const was = this.reason;
    this.reason = reason;
    if (Boolean(was) === Boolean(reason)) { this.#paint(); return; }
    this.#timers.forEach(clearTimeout);
    this.#timers = [];
    if (!reason) {
      const shown = !$("overlay").hidden;
      $("overlay").hidden = true;
      this.changed(false, shown);
      return;
    }
    $("overlay-message").hidden = true;
    this.changed(true, false);
    this.#timers = [
      setTimeout(() => { $("overlay").hidden = false; this.#paint(); }, PATIENCE_MS),
      setTimeout(() => { $("overlay-message").hidden = !window.MediaRecorder || !this.takes(); }, MESSAGE_MS),
    ];
  }

  #paint() {
    $("overlay-title").textContent = t(this.reason === "media" ? "lost.media" : "lost.title");
    $("overlay-text").textContent = t({ offline: "lost.offline", full: "lost.full" }[this.reason] ?? "lost.text");
  }
}
