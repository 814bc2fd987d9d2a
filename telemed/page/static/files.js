// Files and pictures between participants, in small frames over the data channel "file".
// A text frame {"file", "name", "type", "size"} announces one; binary frames follow until `size` bytes have come.

import { Emitter } from "./events.js";

export const MAX = 10e6;
const FRAME = 16000;
const STALE_MS = 60000; // nothing came for so long: the sender is gone

/** Emits `start`, `progress`, `done` ({..., blob}) and `broken`, each with {id, from, name, type, size, got}. */
export class Files extends Emitter {
  constructor(channels) {
    super();
    this.channels = channels;
    this.coming = new Map(); // sender -> what is being received from it
    this.turn = Promise.resolve();
    channels.on("channel closed", (label, from) => { if (label === "file") this.#drop(from); }); // it left, or our link could not keep up
    channels.on("file", (from, data) => (typeof data === "string" ? this.#head(from, data) : this.#piece(from, data)));
  }

  /** Sends one file after those before it; `progress(fraction)`. Rejects when the channel closes on the way. */
  send(id, file, progress) {
    const sent = this.turn.then(() => this.#send(id, file, progress));
    this.turn = sent.catch(() => {});
    return sent;
  }

  async #send(id, file, progress) {
    await this.channels.send("file", JSON.stringify({ file: id, name: file.name.slice(0, 200), type: file.type, size: file.size }));
    for (let at = 0; at < file.size; at += FRAME) {
      await this.channels.send("file", await file.slice(at, at + FRAME).arrayBuffer());
      progress(Math.min(1, (at + FRAME) / file.size));
    }
  }

  #head(from, text) {
    let head;
    try { head = JSON.parse(text); } catch { return; }
    const { file, name, type, size } = head;
    if (typeof file !== "string" || typeof name !== "string" || !(size > 0 && size <= MAX)) return;
    this.#drop(from);
    const coming = { id: file, from, name: name.slice(0, 200), type: typeof type === "string" ? type : "", size, got: 0, parts: [], timer: 0 };
    this.coming.set(from, coming);
    this.#wait(coming);
    this.emit("start", coming);
  }

  #piece(from, data) {
    const coming = this.coming.get(from);
    if (!coming) return;
    coming.parts.push(data);
    coming.got += data.byteLength;
    if (coming.got > coming.size) { this.#drop(from); return; }
    this.#wait(coming);
    if (coming.got < coming.size) { this.emit("progress", coming); return; }
    clearTimeout(coming.timer);
    this.coming.delete(from);
    // Kept as what it is only when browsers show it without running anything.
    const safe = /^image\/(jpeg|png|webp|gif)$/.test(coming.type) ? coming.type : "application/octet-stream";
    this.emit("done", { ...coming, picture: safe !== "application/octet-stream", blob: new Blob(coming.parts, { type: safe }) });
  }

  #wait(coming) {
    clearTimeout(coming.timer);
    coming.timer = setTimeout(() => this.#drop(coming.from), STALE_MS);
  }

  #drop(from) {
    const coming = this.coming.get(from);
    if (!coming) return;
    clearTimeout(coming.timer);
    this.coming.delete(from);
    this.emit("broken", coming);
  }
}
