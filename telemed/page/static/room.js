// The room as this client has it: takes what signalling says, keeps people, tracks and peer in step, and shows the right screen.

import { $, say, show, shown } from "./dom.js";
import { back, prefix, roomOf } from "./entry.js";
import { Channels } from "./channels.js";
import { Chat } from "./chat.js";
import { Check } from "./check.js";
import { Letters } from "./letters.js";
import { Media, phone } from "./media.js";
import { Message } from "./message.js";
import { Overlay } from "./overlay.js";
import { Panel } from "./panel.js";
import { Peer } from "./peer.js";
import { People } from "./people.js";
import { Publishing } from "./publishing.js";
import { Pulse } from "./pulse.js";
import { Quality, level } from "./quality.js";
import { Recording } from "./recording.js";
import { Signalling } from "./signalling.js";
import { onLanguage, own, t } from "./texts.js";
import { Tiles } from "./tiles.js";
import { Vitals } from "./vitals.js";

const NOTE_MS = 6000;

export class Room {
  constructor(entry) {
    this.entry = entry;
    this.me = null;
    this.info = null; // room record
    this.limits = {};
    this.people = new Map();
    this.peer = null;
    this.ice = [];
    this.mode = "auto";
    this.over = null; // {reason, text}
    this.signalling = new Signalling(`${location.origin.replace(/^http/, "ws")}${prefix}/ws`, entry);
    this.media = new Media();
    this.tiles = new Tiles();
    this.channels = new Channels(this.signalling);
    this.quality = new Quality(this.signalling);
    this.publishing = new Publishing(this, this.media, this.tiles);
    this.list = new People(this);
    this.recording = new Recording(this);
    this.vitals = new Vitals(this.channels, (id) => this.name(id));
    this.chat = new Chat(this.signalling, this.channels, (id) => this.name(id), (n) => { $("chat-badge").hidden = !n; $("chat-badge").textContent = n || ""; });
    this.panel = new Panel((name) => { this.chat.opened(name === "chat"); this.tiles.layout(); });
    this.check = new Check(this.media, { enter: (choice) => this.enter(choice), speaker: (id) => this.tiles.speaker(id) });
    this.overlay = new Overlay(() => this.signalling.hurry(), () => this.message.open(), (lost, seen) => {
      this.tiles.hold(lost);
      if (!lost && seen) this.note(t("lost.back"));
    }, () => this.limits.messages !== false);
    this.message = new Message({
      url: `${prefix}/messages`, entry, media: this.media, room: () => this.info?.id ?? roomOf(entry.bearer().token) ?? entry.open.room ?? "",
      wantsVideo: () => this.mode !== "audio",
    });
    this.letters = new Letters({ url: `${prefix}/messages`, entry, note: (text) => this.note(text) });
    this.#hear();
    this.#buttons();
    onLanguage(() => this.paint());
  }

  #iceTimer = 0;
  #wake = null;

  // ---- for the parts ----

  name(id) {
    if (id === null || id === this.me?.id) return this.me?.name ?? t("you");
    return this.people.get(id)?.name ?? this.list.waiting.get(id)?.name ?? "";
  }

  *tracks() { for (const { info } of this.tiles.tracks.values()) yield info; }

  /** Asks the relay; a refusal is shown. */
  ask(message) {
    return this.signalling.request(message).catch((error) => { if (error.text) this.note(own(error.text)); });
  }

  /** A line that everybody here reads, for a while. */
  note(text) {
    say(text);
    this.chat.line(text);
    this.noted = text;
    clearTimeout(this.noteTimer);
    this.noteTimer = setTimeout(() => { this.noted = ""; this.#weak(); }, NOTE_MS);
    this.#weak();
  }

  /** auto, low or audio */
  save(mode) {
    this.mode = mode;
    document.querySelector(`input[name=low][value=${mode}]`).checked = true;
    this.tiles.save(mode);
    this.publishing.save(mode);
    if (mode === "audio" && this.media.camera) this.publishing.toggle("camera", false);
  }

  // ---- coming in and going ----

  enter({ audioOnly = false } = {}) {
    this.over = null;
    this.tiles.unblock();
    $("enter").disabled = true;
    $("enter").textContent = t("check.entering");
    if (audioOnly) { this.publishing.on.camera = false; this.save("audio"); }
    this.signalling.connect();
  }

  leave() {
    this.#dialogs();
    this.signalling.leave();
  }

  #buttons() {
    for (const button of document.querySelectorAll("[data-action=leave]")) button.onclick = () => this.leave();
    document.querySelector("[data-action=leave-ask]").onclick = () => $("leave-dialog").showModal();
    for (const button of document.querySelectorAll("[data-close]")) button.onclick = () => button.closest("dialog").close();
    $("end").onclick = () => { this.#dialogs(); this.ask({ type: "end" }); };
    $("again").onclick = () => this.#again();
    $("hand").onclick = () => this.ask({ type: "hand", up: !this.me.hand });
    $("message").onclick = () => this.message.open();
    $("meter").onclick = () => this.panel.open("more");
    for (const input of document.querySelectorAll("input[name=low]")) input.onchange = () => this.save(input.value);
    $("back").href = back || "/";
    this.tiles.on("prefer", (wish) => this.signalling.request({ type: "prefer", ...wish }).catch(() => {}));
    this.tiles.on("weak", (weak) => { this.quality.weak = weak; this.quality.judge(); this.#weak(); });
    this.quality.on("level", () => this.#weak());
    this.quality.on("stats", (stats) => this.#measured(stats));
    // Back on a network, perhaps another one: the old address is not waited for.
    addEventListener("online", () => setTimeout(() => { if (this.signalling.state === "up") this.peer?.restart(); }, 300));
    addEventListener("pagehide", () => this.message.stop());
  }

  async #again() {
    $("enter").disabled = false;
    this.paint();
    show("check");
    await this.check.reopen();
  }

  #dialogs() {
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  }

  // ---- what signalling says ----

  #hear() {
    const s = this.signalling;
    s.on("state", () => this.#link());
    s.on("over", (reason, text) => this.#end(reason, text));
    s.on("welcome", (message) => { this.limits = message.limits ?? {}; this.#view(message); });
    s.on("admitted", (message) => this.#view(message));
    s.on("resumed", (message) => this.#resumed(message));
    s.on("room", ({ room }) => { this.info = room; this.recording.take(room.recording ?? this.recording.now); this.paint(); });
    s.on("waiting", ({ participant }) => this.list.waits(participant));
    s.on("waiting-left", ({ participant }) => this.list.waitsNoMore(participant));
    s.on("joined", ({ participant }) => {
      this.#person(participant);
      say(t("people.came", { name: participant.name }));
      // Its data channels open a moment after it came in.
      setTimeout(() => this.vitals.again(), 3000);
    });
    s.on("left", ({ participant, reason }) => {
      const name = this.name(participant);
      this.people.delete(participant);
      this.list.quality.delete(participant);
      for (const track of [...this.tracks()]) if (track.participant === participant) this.peer?.unwant(track.id);
      this.tiles.gone(participant);
      this.list.paint();
      if (name) this.note(t(reason === "lost" ? "people.lost" : "people.gone", { name }));
    });
    s.on("changed", ({ participant }) => {
      const before = participant.id === this.me?.id ? this.me : this.people.get(participant.id);
      if (participant.hand && !before?.hand && participant.id !== this.me?.id) this.note(t("people.hand-up", { name: participant.name }));
      this.#person(participant);
    });
    s.on("hand", ({ participant, up }) => { if (up) this.note(t("people.hand-up", { name: participant.name })); });
    s.on("watchers", ({ count }) => { this.list.watchers = count; this.list.paint(); });
    s.on("track-added", ({ track }) => this.#track(track));
    s.on("track-changed", ({ track }) => this.#track(track));
    s.on("track-removed", ({ track }) => {
      this.publishing.ownGone(track);
      this.peer?.unwant(track);
      this.tiles.remove(track);
      this.list.paint();
    });
    s.on("muted", ({ track }) => this.publishing.mutedBy(track));
    s.on("layer", (choice) => this.tiles.layer(choice));
    s.on("speakers", ({ levels }) => this.tiles.speakers(levels));
    s.on("quality", (message) => this.#quality(message));
    s.on("message", ({ message }) => this.letters.came(message));
    s.on("recording", ({ recording, reason }) => this.recording.take(recording, reason));
    s.on("restarting", () => say(t("lost.text")));
  }

  /** `welcome` and `admitted`: everything as it now is. */
  #view(view) {
    this.me = view.you;
    this.info = view.room;
    this.#iceServers(view);
    this.people.clear();
    this.list.clear();
    this.tiles.clear();
    this.check.close();
    if (this.me.state === "waiting") {
      this.#close();
      show("waiting");
      this.paint();
      return;
    }
    this.tiles.me(this.me);
    this.chat.me(this.me.id);
    this.chat.clear();
    this.chat.role(this.me);
    this.vitals.role(this.me);
    for (const person of view.participants) if (person.id !== this.me.id) this.#person(person);
    for (const person of view.waiting ?? []) this.list.waits(person, false);
    this.list.watchers = view.room.watchers ?? 0;
    this.chat.history(view.chat ?? []);
    if (this.limits.messages && this.me.rights.includes("admit")) this.letters.load();
    show("call");
    this.#fresh(view.tracks ?? []);
    this.recording.take(view.room.recording ?? this.recording.now);
    this.#awake();
    this.paint();
    if (view.waiting?.length) this.list.paint();
  }

  #resumed(message) {
    this.#iceServers(message);
    if (!this.me || this.me.state === "waiting") return; // what was missed tells
    if (message.media === "new" || !this.peer || this.peer.closed) this.#fresh([...this.tracks()]);
    else this.peer.restart(); // even when it believes itself connected: what cut the one link has mostly cut the other, or changed the address
  }

  /** A new RTCPeerConnection, everything of ours on it, and everything of others wanted. */
  #fresh(tracks) {
    this.#close();
    const peer = new Peer(this.signalling, this.ice, phone);
    this.peer = peer;
    this.channels.use(peer);
    this.quality.use(peer);
    this.pulse = new Pulse();
    peer.on("track", (id, media) => {
      const info = this.tiles.tracks.get(id)?.info ?? tracks.find((track) => track.id === id);
      if (info) this.tiles.track(info, media);
    });
    let restarts = 0;
    peer.on("state", () => {
      this.#link();
      if (!peer.up) return;
      if (restarts !== peer.restarts) this.publishing.forget();
      restarts = peer.restarts;
      this.quality.measure(); // the link while it is empty
    });
    peer.on("negotiated", () => this.publishing.save(this.mode));
    peer.on("gone", () => { if (this.peer === peer) this.#fresh([...this.tracks()]); });
    peer.on("problem", (error) => { if (error.text) this.note(own(error.text)); else console.warn(error); });
    this.publishing.all();
    this.tiles.asked.clear();
    for (const track of tracks) this.#track(track);
    peer.negotiate();
    this.#link();
  }

  #person(person) {
    if (person.id === this.me?.id) {
      this.me = { ...this.me, ...person };
      this.paint();
    } else if (this.people.has(person.id) || person.role !== "watcher") {
      this.people.set(person.id, person);
      this.tiles.person(person);
    }
    this.list.paint();
  }

  #track(track) {
    if (track.participant === this.me?.id) { this.publishing.own(track); return; }
    this.tiles.track(track);
    this.peer?.want(track);
    this.list.paint();
  }

  // The way up and the sound that comes, brought to what the link does at present.
  #measured(stats) {
    if (!this.peer) return;
    if (this.publishing.measure(stats)) this.#weak();
    for (const r of stats.values()) if (r.type === "inbound-rtp" && r.kind === "audio") this.peer.hold(r);
    if (this.peer.up && this.signalling.state === "up" && this.pulse.take(stats, performance.now())) {
      this.signalling.check();
      this.peer.restart();
    }
  }

  #quality(message) {
    if (message.participant === this.me?.id) { this.quality.take(message); return; }
    const { sent_lost: sent = 0, received_lost: received = 0, jitter_ms: jitter = 0, round_trip_ms: round = 0, mos = 0 } = message;
    this.list.quality.set(message.participant, level({ lost: Math.max(sent, received), jitter, round, mos }));
    this.list.paint();
  }

  #iceServers({ ice_servers: servers, ice_seconds: seconds }) {
    if (!servers) return;
    this.ice = servers;
    clearTimeout(this.#iceTimer);
    if (!seconds || !servers.some((s) => s.credential)) return;
    this.#iceTimer = setTimeout(async () => {
      const fresh = await this.signalling.request({ type: "ice" }).catch(() => null);
      if (!fresh) return;
      this.#iceServers(fresh);
      if (this.peer && !this.peer.closed) this.peer.pc.setConfiguration({ ...this.peer.pc.getConfiguration(), iceServers: this.ice });
    }, seconds * 800);
  }

  // ---- the link ----

  #link() {
    const { state, why } = this.signalling, inRoom = this.me?.state === "admitted";
    this.quality.connected = state === "up" && Boolean(this.peer?.up);
    if (state === "over") { this.overlay.set(""); return; }
    const lost = state !== "up" ? (why === "offline" || why === "full" ? why : "lost") : "";
    // The first connection shows itself by the pictures that come; only one that was there can be missed.
    const cut = this.peer && ["disconnected", "failed"].includes(this.peer.state) ? "media" : "";
    const pending = this.peer && this.overlay.reason && !this.peer.up && !this.peer.closed ? "media" : "";
    if (inRoom) this.overlay.set(lost || cut || pending);
    this.quality.judge();
    if (shown() === "waiting") $("waiting-text").textContent = t(lost ? "waiting.lost" : "waiting.text");
    if (shown() === "check" && $("enter").disabled && this.signalling.attempts > 1) {
      $("check-problem").hidden = false;
      $("check-problem").textContent = t({ offline: "lost.offline", full: "lost.full" }[why] ?? "lost.text");
    }
  }

  #close() {
    this.peer?.close();
    this.peer = null;
  }

  #end(reason, text) {
    this.over = { reason, text };
    this.#dialogs();
    this.message.stop();
    this.panel.open(null);
    this.#close();
    clearTimeout(this.#iceTimer);
    this.publishing.close();
    this.media.close();
    this.check.close();
    this.tiles.clear();
    this.people.clear();
    this.list.clear();
    this.vitals.clear();
    this.letters.clear();
    this.recording.take({ state: "off", by: null, asked: [], consented: [], refused: [] });
    this.me = null;
    this.#wake?.release().catch(() => {});
    this.#wake = null;
    $("enter").disabled = false;
    show("over");
    this.paint();
  }

  // A phone that puts its screen out puts the camera out with it.
  async #awake() {
    try { this.#wake = await navigator.wakeLock?.request("screen"); } catch { /* battery low, or not in sight */ }
  }

  // ---- what is seen of all this ----

  #weak() {
    const weak = this.quality.weak, lines = [];
    if (this.noted) lines.push(this.noted, "");
    else if (weak === "paused") lines.push(t("weak.paused"), t("weak.paused-why"));
    else if (this.quality.level === 1 && this.quality.connected) lines.push(t("weak.sound"), t("weak.sound-why"));
    else if (this.publishing.less) lines.push(t(this.publishing.uplink.video ? "weak.up" : "weak.up-none"), t("weak.up-why"));
    else if (weak === "lower") lines.push(t("weak.lower"), "");
    else if (this.publishing.held.by === "device") lines.push(t("weak.device"), t("weak.device-why"));
    $("weak").hidden = !lines.length;
    $("weak").replaceChildren(...(lines.length ? [lines[0], ...(lines[1] ? [Object.assign(document.createElement("small"), { textContent: lines[1] })] : [])] : []));
  }

  paint() {
    const { me, info } = this, inside = me?.state === "admitted";
    if (!$("enter").disabled) $("enter").textContent = t("check.enter");
    else $("enter").textContent = t("check.entering");
    $("room-state").textContent = info && inside ? t(`state.${info.state}`) : "";
    $("meter").hidden = !inside;
    $("waiting-text").textContent = t(this.signalling.state === "up" ? "waiting.text" : "waiting.lost");
    $("message").hidden = this.limits.messages === false;
    $("end").hidden = !me?.rights.includes("end");
    $("hand").setAttribute("aria-pressed", Boolean(me?.hand));
    $("hand").lastElementChild.textContent = t(me?.hand ? "hand.down" : "hand.up");
    this.publishing.paint();
    this.recording.paint();
    this.list.paint();
    this.#weak();
    if (this.over) {
      const { reason, text } = this.over;
      $("over-title").textContent = t(`over.${reason}`);
      const key = `over.${reason}-text`, mine = t(key);
      $("over-text").textContent = own(text) || (mine === key ? "" : mine);
      $("again").hidden = !["left", "failed", "replaced"].includes(reason) || !this.entry.known;
      $("back").hidden = !back;
    }
  }

  /** For tests. */
  state() {
    return {
      screen: shown(), signalling: this.signalling.state, why: this.signalling.why, seq: this.signalling.seq, me: this.me, room: this.info, over: this.over?.reason ?? null,
      ice: this.peer?.state ?? null, restarts: this.peer?.restarts ?? 0, mode: this.mode, level: this.quality.level, figures: this.quality.figures, weak: this.quality.weak, held: this.publishing.held.by, up: this.publishing.less ? this.publishing.uplink.video : null,
      overlay: this.overlay.reason, participants: [...this.people.values()], waiting: [...this.list.waiting.values()], tracks: [...this.tracks()], tiles: this.tiles.state(),
      letters: this.letters.list, layers: [...this.tiles.choices.values()], own: [...this.publishing.mine.values()], recording: this.recording.now, vitals: this.vitals.values,
      channels: [...this.channels.open.values()].map((c) => ({ label: c.label, state: c.readyState })), devices: { microphone: Boolean(this.media.microphone), camera: Boolean(this.media.camera), problem: this.media.problem },
    };
  }

  /** For tests: every statistic of the peer as a plain list; inbound ones with the track they carry. */
  async stats() {
    if (!this.peer || this.peer.closed) return [];
    const found = [];
    for (const report of (await this.peer.pc.getStats()).values()) {
      const slot = report.type === "inbound-rtp" ? this.peer.slots.find((s) => s.transceiver.mid === report.mid) : null;
      found.push(slot ? { ...report, track: slot.track } : { ...report });
    }
    return found;
  }
}
