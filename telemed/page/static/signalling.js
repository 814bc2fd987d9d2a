// The WebSocket to the relay (docs/telemed-protocol.md): comes in, numbers, resumes, and reconnects by itself until told to stop.

import { Emitter } from "./events.js";

const WAITS = [0.2, 0.5, 1, 2, 4, 5];
const FULL_WAITS = [5, 10, 20, 40, 60];
const OPEN_MS = 5000; // a link that swallows packets must not hold an attempt for the minutes that TCP would give it
const CHECK_MS = 2000;
const FINAL = { 1000: "left", 4400: "failed", 4401: "token", 4403: "removed", 4409: "replaced", 4410: "ended", 4413: "failed" };
const OVER = { refused: "refused", removed: "removed", replaced: "replaced", ended: "ended" };
const TOKEN_CODES = ["token", "token-ended", "token-used"];

/** Emits `state` (connecting, up, down, over), `over` (reason, text), and every message of the relay by its type. */
export class Signalling extends Emitter {
  constructor(url, entry) {
    super();
    this.url = url;
    this.entry = entry;
    this.state = "idle";
    this.seq = 0;
    this.why = ""; // why it is down: offline, full, lost
    this.attempts = 0;
    this.#ids = 1;
    addEventListener("online", () => this.hurry());
    addEventListener("offline", () => { this.why = "offline"; if (this.state === "up") this.check(); else this.emit("state", this.state); });
    navigator.connection?.addEventListener?.("change", () => this.check());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.check(); });
  }

  #ids;
  #pending = new Map(); // id -> {message, resolve, reject, again}, in the order asked
  #socket = null;
  #timers = { again: 0, open: 0, ping: 0, silent: 0 };
  #goal = 0; // number of the last missed message, until then nothing is asked again
  #renewed = false;
  #said = null; // {reason, text} of a message that announces the close

  /** Comes in. Whatever goes wrong from here on ends in `welcome`, another attempt or `over`. */
  async connect() {
    this.#clear();
    this.#set(this.state === "idle" || this.state === "over" ? "connecting" : this.state === "up" ? "down" : this.state);
    let hello;
    try {
      hello = await this.#hello();
    } catch (error) {
      if (error.status >= 400 && error.status < 500) this.#finish("token");
      else this.#later();
      return;
    }
    if (!hello) { this.#finish("token"); return; }
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    this.#timers.open = setTimeout(() => this.#lost(1006), OPEN_MS);
    socket.onopen = () => socket.send(JSON.stringify(hello));
    socket.onmessage = (event) => this.#take(JSON.parse(event.data));
    socket.onclose = (event) => this.#lost(event.code);
  }

  /** Asks and promises the reply; survives a lost link. `again`: also a relay that has forgotten everything. Rejects with {code, text}. */
  request(message, { again = false } = {}) {
    return new Promise((resolve, reject) => {
      if (this.state === "over") { reject({ code: "closed" }); return; }
      const id = this.#ids++;
      this.#pending.set(id, { message: { ...message, id }, resolve, reject, again });
      if (this.state === "up" && !this.#goal) this.#write({ ...message, id });
    });
  }

  /** Says without asking; lost when there is no link. */
  tell(message) {
    if (this.state === "up") this.#write(message);
  }

  leave() {
    this.tell({ type: "leave" });
    this.#finish("left");
  }

  /** Tries at once: the network came back, or a person pressed the button. */
  hurry() {
    if (this.state === "up") this.check();
    else if (this.state === "down" || this.state === "connecting") { this.attempts = 0; this.#detach(); this.connect(); }
  }

  /** Whether the link still answers; if not within two seconds, it is given up. */
  check() {
    if (this.state !== "up" || this.#timers.silent) return;
    this.#write({ type: "ping", id: this.#ids++ });
    this.#timers.silent = setTimeout(() => this.#lost(1006), CHECK_MS);
  }

  async #hello() {
    const { entry } = this;
    const hello = { type: "hello", id: 0, version: 1, client: entry.client, agent: "health-hub page 1" };
    if (entry.resume) return { ...hello, resume: { token: entry.resume, seq: this.seq } };
    if (entry.open.room) return { ...hello, ...entry.open };
    const token = await entry.token(this.#renewed);
    return token ? { ...hello, token } : null;
  }

  #take(message) {
    clearTimeout(this.#timers.silent);
    this.#timers.silent = 0;
    if (message.resume && typeof message.resume === "string") this.entry.keep({ resume: message.resume });
    const { type } = message;
    if (type === "welcome") this.#welcome(message);
    else if (type === "resumed") this.#resumed(message);
    else if (message.seq) {
      if (message.seq <= this.seq && this.#goal) return; // seen before
      this.seq = Math.max(this.seq, message.seq);
    }
    if (type === "error" && message.fatal) { this.#fatal(message); return; }
    if (OVER[type]) this.#said = { reason: OVER[type], text: message.text };
    const asked = this.#pending.get(message.re);
    if (asked) {
      this.#pending.delete(message.re);
      if (type === "error") asked.reject(message); else asked.resolve(message);
    } else if (type === "error") this.emit("problem", message);
    this.emit(type, message);
    if (this.#goal && this.seq >= this.#goal) this.#caughtUp();
  }

  #welcome(message) {
    this.seq = message.seq ?? 0;
    this.#goal = 0;
    const dropped = [...this.#pending].filter(([, asked]) => !asked.again);
    for (const [id, asked] of dropped) { this.#pending.delete(id); if (this.attempts || message.restored) asked.reject({ code: "restored" }); }
    this.#up(message.ping_seconds ?? 15);
    this.#repeat();
  }

  #resumed(message) {
    this.#up();
    this.#goal = message.missed ? message.seq : 0;
    if (this.#goal && this.seq >= this.#goal) this.#goal = 0;
    if (!this.#goal) this.#repeat();
  }

  #caughtUp() {
    this.#goal = 0;
    this.#repeat();
  }

  #repeat() {
    for (const { message } of this.#pending.values()) this.#write(message);
  }

  #up(seconds) {
    clearTimeout(this.#timers.open);
    this.pingSeconds = seconds ?? this.pingSeconds ?? 15;
    this.attempts = 0;
    this.why = "";
    this.#renewed = false;
    clearInterval(this.#timers.ping);
    this.#timers.ping = setInterval(() => {
      if (this.#timers.silent) return;
      this.#write({ type: "ping", id: this.#ids++ });
      this.#timers.silent = setTimeout(() => this.#lost(1006), this.pingSeconds * 1000);
    }, this.pingSeconds * 1000);
    this.#set("up");
  }

  #fatal(message) {
    const { code, text } = message;
    if (TOKEN_CODES.includes(code) && this.entry.resume) { // what was kept is too old: in by the join token
      this.entry.keep({ resume: null });
      this.seq = 0;
      this.#said = { again: true };
    } else if (TOKEN_CODES.includes(code) && this.entry.renewable && !this.#renewed) {
      this.#renewed = true;
      this.#said = { again: true };
    } else if (TOKEN_CODES.includes(code)) this.#said = { reason: "token" };
    else if (code === "removed" || code === "ended") this.#said = { reason: code, text };
    else if (code === "full" || code === "room-full") this.why = "full";
    else if (!["slow", "silence", "rate", "internal"].includes(code)) this.#said = { reason: "failed", text };
    this.emit("problem", message);
  }

  #lost(code) {
    if (this.state === "over") return;
    this.#detach();
    const said = this.#said;
    this.#said = null;
    if (said?.again) { this.connect(); return; }
    if (said) { this.#finish(said.reason, said.text); return; }
    if (code === 4403 || code === 4410 || code === 4409 || FINAL[code]) { this.#finish(FINAL[code]); return; }
    if (code === 1013 || code === 4503) this.why = "full";
    else this.why = navigator.onLine === false ? "offline" : this.why || "lost";
    if (this.state === "up") this.#set("down"); else this.emit("state", this.state);
    this.#later(code === 4429 ? 10 : code === 1012 ? 0.5 : undefined);
  }

  #later(first) {
    const waits = this.why === "full" ? FULL_WAITS : WAITS;
    const seconds = first ?? waits[Math.min(this.attempts, waits.length - 1)];
    this.attempts += 1;
    clearTimeout(this.#timers.again);
    this.#timers.again = setTimeout(() => this.connect(), seconds * 1000 * (0.8 + 0.4 * Math.random()));
  }

  #finish(reason, text) {
    this.#detach();
    for (const { reject } of this.#pending.values()) reject({ code: "closed" });
    this.#pending.clear();
    if (reason !== "failed") this.entry.forget();
    this.seq = 0;
    this.#set("over");
    this.emit("over", reason, text);
  }

  #write(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #set(state) {
    if (this.state === state) return;
    this.state = state;
    this.emit("state", state);
  }

  #clear() {
    clearTimeout(this.#timers.again);
    clearTimeout(this.#timers.open);
    clearTimeout(this.#timers.silent);
    clearInterval(this.#timers.ping);
    this.#timers.silent = 0;
  }

  // Closing waits for the other side's answer, which a dead link never brings: the old socket is let go of instead.
  #detach() {
    this.#clear();
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    try { socket.close(); } catch { /* not open yet */ }
  }
}
