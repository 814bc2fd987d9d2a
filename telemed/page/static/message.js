// Store and forward: when a call cannot be held, a message is recorded here and sent in pieces when the link returns.

import { $, say } from "./dom.js";
import { onLanguage, t } from "./texts.js";
import { roomOf } from "./entry.js";
import * as kept from "./kept.js";
import { upload } from "./upload.js";

const LONGEST_S = 300;
const SLICE_MS = 2000; // what a crash of the browser may cost
const WAITS = [2, 5, 10, 30, 60];
const VIDEO = ["video/webm;codecs=vp8,opus", "video/mp4;codecs=avc1.42E01E,mp4a.40.2", "video/webm", "video/mp4"];
const AUDIO = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];

export class Message {
  /** `url`: where messages are made; `entry`: who we are; `media`: our microphone and camera; `room()`: the room's id. */
  constructor({ url, entry, media, room, wantsVideo }) {
    Object.assign(this, { url, entry, media, room, wantsVideo });
    this.state = ["", {}];
    $("message-record").onclick = () => this.record();
    $("message-stop").onclick = () => this.stop();
    $("message-dialog").addEventListener("close", () => { if (this.recorder) this.stop(); });
    addEventListener("online", () => this.flush(true));
    onLanguage(() => this.#paint());
    this.flush(false);
  }

  #timer = 0;
  #again = 0;
  #tries = 0;
  #sending = false;

  open() {
    this.#say("");
    $("message-progress").hidden = true;
    if (!$("message-dialog").open) $("message-dialog").showModal();
  }

  async record() {
    const video = this.wantsVideo() && this.media.camera;
    // Clones: muting oneself in the call, or losing it, must not silence the message.
    let tracks = [this.media.microphone, video].filter((track) => track?.readyState === "live").map((track) => track.clone());
    if (!tracks.some((track) => track.kind === "audio")) {
      const stream = await navigator.mediaDevices?.getUserMedia({ audio: true }).catch(() => null);
      tracks = [...tracks, ...(stream?.getTracks() ?? [])];
    }
    const type = (video ? VIDEO : AUDIO).find((type) => window.MediaRecorder?.isTypeSupported(type));
    if (!tracks.length || !type) { this.#say("message.cannot"); return; }
    for (const track of tracks) track.enabled = true;
    const stream = new MediaStream(tracks);
    const id = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
    // Sent perhaps from a page of another day: what shows who recorded it goes with it.
    const message = { id, room: this.room(), bearer: this.entry.bearer(), type: type.split(";")[0], state: "recording", created: new Date().toISOString(), location: null };
    await kept.put(message);
    const recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: 250000, audioBitsPerSecond: 24000 });
    this.recorder = recorder;
    let n = 0, written = Promise.resolve();
    const begun = Date.now();
    recorder.ondataavailable = ({ data }) => { if (data.size) { const at = n++; written = written.then(() => kept.addPiece(id, at, data)); } };
    recorder.onstop = async () => {
      clearInterval(this.#timer);
      for (const track of tracks) track.stop();
      this.recorder = null;
      $("message-preview").srcObject = null;
      $("message-preview").hidden = true;
      $("message-stop").hidden = true;
      $("message-record").hidden = false;
      await written;
      await kept.put({ ...message, state: "kept", seconds: (Date.now() - begun) / 1000 });
      this.#say("message.kept");
      this.flush(true);
    };
    recorder.start(SLICE_MS);
    if (video) { $("message-preview").srcObject = stream; $("message-preview").hidden = false; }
    $("message-record").hidden = true;
    $("message-stop").hidden = false;
    $("message-stop").focus();
    this.#timer = setInterval(() => {
      const seconds = Math.floor((Date.now() - begun) / 1000);
      this.#say("message.recording", { time: `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}` }, false);
      if (seconds >= LONGEST_S) this.stop();
    }, 500);
  }

  stop() {
    if (this.recorder?.state === "recording") this.recorder.stop();
  }

  /** Sends whatever is kept; `now`: without waiting for the next turn. */
  async flush(now) {
    if (now) { clearTimeout(this.#again); this.#tries = 0; }
    if (this.#sending || !window.indexedDB) return;
    this.#sending = true;
    try {
      for (const message of await kept.all()) {
        if (message.state === "recording" && this.recorder) continue; // else: the page was closed while recording
        await this.#send(message);
      }
      this.#tries = 0;
    } catch (error) {
      if (error.refused) this.#say("message.refused");
      const wait = error.refused ? 300 : WAITS[Math.min(this.#tries++, WAITS.length - 1)];
      this.#again = setTimeout(() => this.flush(false), wait * 1000);
    } finally {
      this.#sending = false;
    }
  }

  async #send(message) {
    const blob = await kept.content(message.id, message.type);
    if (!blob.size) { await kept.remove(message.id); return; }
    const options = {
      url: this.url,
      save: async (change) => { Object.assign(message, change, { state: "kept" }); await kept.put(message); },
      progress: (part) => {
        $("message-progress").hidden = false;
        $("message-progress").value = part;
        this.#say("message.sending", { percent: Math.round(part * 100) }, false);
      },
    };
    let refused = Object.assign(new Error("401"), { status: 401, refused: true });
    for (const bearer of this.#bearers(message)) {
      try {
        await upload(message, blob, { ...options, bearer: await bearer() });
        await kept.remove(message.id);
        this.#say("message.sent");
        return;
      } catch (error) {
        if (error.status !== 401) throw error;
        refused = error;
      }
    }
    throw refused;
  }

  /** This page's own where it is of the message's room, else what was kept with the message, at last a new one. */
  #bearers(message) {
    const mine = this.entry.bearer(), same = (token) => !message.room || (roomOf(token) ?? message.room) === message.room, found = [];
    if (mine.token && same(mine.token)) found.push(async () => mine);
    if (message.bearer?.token) found.push(async () => message.bearer);
    if (this.entry.renewable) {
      found.push(async () => {
        const token = await this.entry.token(true);
        if (!same(token)) throw Object.assign(new Error("401"), { status: 401, refused: true });
        return { token, client: "" };
      });
    }
    return found;
  }

  #say(key, values = {}, aloud = true) {
    this.state = [key, values];
    this.#paint();
    if (key && aloud) say(t(key, values));
  }

  // In the dialog while it is open, and on the screens without a call, where a kept message would otherwise be forgotten.
  #paint() {
    const [key, values] = this.state, text = key ? t(key, values) : "";
    $("message-state").textContent = text;
    $("kept").hidden = !text;
    $("kept-text").textContent = text;
  }
}
