// The chat panel: text over signalling, files and pictures over the data channel.

import { $, el, icon, say, size } from "./dom.js";
import { Files, MAX } from "./files.js";
import { clock, onLanguage, own, t } from "./texts.js";

const key = ({ from, id }) => `${from} ${id}`; // another's file may bear the same id as ours

export class Chat {
  /** `who(id)`: name of a participant; `unseen(n)`: how many messages came while the panel was closed. */
  constructor(signalling, channels, who, unseen) {
    this.signalling = signalling;
    this.who = who;
    this.unseen = unseen;
    this.count = 0;
    this.seen = new Set();
    this.open = false;
    this.files = new Files(channels);
    this.rows = new Map(); // file id -> row
    signalling.on("chat", ({ message }) => this.#take(message, true));
    $("chat-form").onsubmit = (event) => { event.preventDefault(); this.#send(); };
    $("chat-text").onkeydown = (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return; // composing: a Vietnamese keyboard still at a syllable
      event.preventDefault();
      this.#send();
    };
    $("file-button").onclick = () => $("file-input").click();
    $("file-input").onchange = () => { for (const file of $("file-input").files) this.file(file); $("file-input").value = ""; };
    $("panel-chat").ondragover = (event) => event.preventDefault();
    $("panel-chat").ondrop = (event) => { event.preventDefault(); for (const file of event.dataTransfer.files) this.file(file); };
    $("chat-text").onpaste = (event) => { for (const file of event.clipboardData.files) this.file(file); };
    this.files.on("start", (f) => this.#fileRow(key(f), this.who(f.from), t("file.getting", { name: f.name }), false));
    this.files.on("progress", (f) => this.#progress(key(f), f.got / f.size));
    this.files.on("broken", (f) => this.#fileEnd(key(f), el("p", { class: "said" }, t("file.broken", { name: f.name }))));
    this.files.on("done", (f) => {
      this.#fileEnd(key(f), this.#content(f.name, f.blob, f.picture));
      this.#news(t("file.got", { name: this.who(f.from), file: f.name }));
    });
    onLanguage(() => {}); // what was said stays as it was said
  }

  /** The rights: without `chat` one only reads. */
  role({ rights }) {
    $("chat-form").hidden = !rights.includes("chat");
  }

  me(id) { this.mine = id; }

  /** The newest messages, when coming in. */
  history(messages) {
    for (const message of messages) this.#take(message, false);
  }

  clear() {
    this.seen.clear();
    $("chat-list").replaceChildren();
  }

  opened(open) {
    this.open = open;
    if (!open) return;
    this.count = 0;
    this.unseen(0);
    this.#bottom();
    if (matchMedia("(pointer: fine)").matches) $("chat-text").focus();
  }

  /** A line of the page itself. */
  line(text) {
    this.#append(el("li", { class: "note-line" }, text));
  }

  /** Sends a file to everyone who is in. */
  async file(file) {
    if (file.size > MAX) { this.line(t("file.big")); return; }
    if (!file.size) { this.line(t("file.empty")); return; }
    const id = crypto.randomUUID?.() ?? String(Math.random());
    this.#fileRow(id, t("you"), t("file.sending", { name: file.name }), true);
    try {
      await this.files.send(id, file, (part) => this.#progress(id, part));
      this.#fileEnd(id, this.#content(file.name, file, /^image\/(jpeg|png|webp|gif)$/.test(file.type)));
    } catch {
      this.#fileEnd(id, el("p", { class: "said" }, `${file.name}: ${t("file.offline")}`));
    }
  }

  async #send() {
    const text = $("chat-text").value.trim();
    if (!text) return;
    $("chat-text").value = "";
    const state = el("p", { class: "who" }, this.signalling.state === "up" ? "" : t("chat.waiting"));
    const row = el("li", { class: "own" }, el("p", { class: "said" }, text), state);
    row.dataset.state = "waiting";
    this.#append(row);
    try {
      await this.signalling.request({ type: "chat", text }, { again: true });
      row.remove(); // it has come back with its number, place and time
    } catch (error) {
      state.textContent = t("chat.failed", { why: own(error.text) || t("lost.title") });
    }
  }

  #take(message, live) {
    if (this.seen.has(message.id)) return;
    this.seen.add(message.id);
    const mine = message.from === this.mine;
    this.#append(el("li", { class: mine ? "own" : "" },
      el("p", { class: "who" }, mine ? clock(message.time) : `${message.name} · ${clock(message.time)}`), el("p", { class: "said" }, message.text)));
    if (live && !mine) this.#news(t("chat.new", { name: message.name, text: message.text }));
  }

  #news(text) {
    if (this.open) return; // the list is a live region itself
    say(text);
    this.count += 1;
    this.unseen(this.count);
  }

  #fileRow(id, who, text, mine) {
    const row = el("li", { class: mine ? "own" : "" }, el("p", { class: "who" }, `${who} · ${clock(Date.now())}`),
      el("div", { class: "body" }, el("p", { class: "said" }, text), el("progress", { max: 1, value: 0, "aria-label": text })));
    this.rows.set(id, row);
    this.#append(row);
  }

  #progress(id, part) {
    const bar = this.rows.get(id)?.querySelector("progress");
    if (bar) bar.value = part;
  }

  #fileEnd(id, content) {
    this.rows.get(id)?.querySelector(".body").replaceChildren(content);
    this.rows.delete(id);
    this.#bottom();
  }

  #content(name, blob, picture) {
    const href = URL.createObjectURL(blob);
    const link = el("a", { href, download: name }, icon("file"), t("file.save", { name, size: size(blob.size) }));
    if (!picture) return link;
    return el("div", {}, el("img", { src: href, alt: t("file.picture", { name }), onload: () => this.#bottom() }), link);
  }

  #append(row) {
    const list = $("chat-list"), near = list.scrollHeight - list.scrollTop - list.clientHeight < 120;
    list.append(row);
    if (near || row.className === "own") this.#bottom();
  }

  #bottom() {
    $("chat-list").scrollTop = $("chat-list").scrollHeight;
  }
}
