// What this person sends: microphone, camera and screen, their switches, and telling the room that they are off.

import { $, setIcon } from "./dom.js";
import { LOW_AUDIO_BPS } from "./codecs.js";
import { onLanguage, t } from "./texts.js";
import { Held, reason } from "./held.js";
import { LEAST_BPS, Outgoing, Uplink } from "./uplink.js";

const LEAST_SCREEN_BPS = 60000;
const RIGHT = { microphone: "audio", camera: "video", screen: "screen", "screen-audio": "screen" };

export class Publishing {
  /** `room`: {me, peer, signalling, note(text)}; `tiles`: for one's own picture. */
  constructor(room, media, tiles) {
    Object.assign(this, { room, media, tiles });
    // Who had switched off the microphone is not switched on by loading the page again.
    this.on = { microphone: true, camera: true, ...room.entry.kept.on };
    if (!this.on.camera) media.chosen.camera = "none";
    this.screen = []; // tracks of the shared screen
    this.mine = new Map(); // source -> own TrackInfo, as the relay knows it
    this.mode = "auto";
    this.uplink = new Uplink();
    this.held = new Held();
    $("mic").onclick = () => this.toggle("microphone");
    $("camera").onclick = () => this.toggle("camera");
    $("screen").onclick = () => (this.screen.length ? this.stopScreen() : this.startScreen());
    media.on("change", (source) => this.#changed(source));
    onLanguage(() => this.paint());
  }

  #outgoing = new Outgoing();
  #full = new WeakMap(); // sender -> its encodings as they were at first: a browser without simulcast has others than it was asked for
  #told = new Map(); // source -> whether the relay was last told that it is muted

  may(source) { return this.room.me?.rights.includes(RIGHT[source]) ?? false; }

  /** Puts everything there is on a new peer. */
  all() {
    this.mine.clear();
    this.uplink.forget();
    this.#outgoing = new Outgoing();
    for (const source of ["microphone", "camera"]) {
      const track = this.media[source];
      if (track && this.may(source) && (source !== "camera" || this.on.camera)) this.room.peer.publish(source, track);
    }
    for (const track of this.screen) this.room.peer.publish(track.kind === "video" ? "screen" : "screen-audio", track);
    this.save(this.mode);
    this.paint();
  }

  /** One of our own tracks, as the relay now has it. */
  own(info) {
    const fresh = this.mine.get(info.source)?.id !== info.id;
    this.mine.set(info.source, info);
    // Only when it is new: a change may be someone else's wish, which `muted` tells of.
    if (fresh) { this.#told.set(info.source, info.muted); this.#tell(info.source); }
    if (fresh && info.source === "camera" && this.held.by) this.#say();
  }

  /** Tells the others whether our machine or our link holds our picture back. */
  #say() {
    const info = this.mine.get("camera");
    if (info) this.room.signalling.request({ type: "limited", track: info.id, by: this.held.by }).catch(() => {});
  }

  ownGone(id) {
    for (const [source, info] of this.mine) if (info.id === id) this.mine.delete(source);
  }

  /** Muted by someone else. */
  mutedBy(id) {
    for (const [source, info] of this.mine) if (info.id === id) this.#told.set(source, true);
    if (this.mine.get("microphone")?.id === id) { this.toggle("microphone", false); this.room.note(t("muted-by")); }
    if (this.mine.get("camera")?.id === id && this.on.camera) this.toggle("camera", false);
    this.paint();
  }

  async toggle(source, on = !this.on[source]) {
    this.on[source] = on;
    this.room.entry.keep({ on: this.on });
    if (source === "microphone") {
      if (on && !this.media.microphone) await this.media.choose("microphone", this.#chosen("microphone"));
      this.#microphone();
      this.#tell(source);
    } else if (on) {
      if (this.mode === "audio") this.room.save("auto");
      if (!this.media.camera) await this.media.choose("camera", this.#chosen("camera"));
      this.#tell(source);
    } else {
      this.#tell(source);
      this.media.stop("camera");
    }
    this.paint();
  }

  // "none" was chosen in the device check; pressing the button asks for one after all.
  #chosen(source) { return this.media.chosen[source] === "none" ? "" : this.media.chosen[source]; }

  #microphone() {
    if (this.media.microphone) this.media.microphone.enabled = this.on.microphone;
  }

  #tell(source) {
    const info = this.mine.get(source), muted = !this.on[source];
    if (!info || this.on[source] === undefined || this.#told.get(source) === muted) return;
    this.#told.set(source, muted);
    this.room.signalling.request({ type: "mute", track: info.id, muted }).catch(() => {});
  }

  /** Another device, one unplugged, or the camera switched. */
  #changed(source) {
    for (const one of source ? [source] : ["microphone", "camera"]) {
      const track = this.media[one];
      if (one === "microphone") this.#microphone();
      const { peer } = this.room;
      if (!peer || peer.closed || !this.may(one)) continue;
      if (track) {
        this.on[one] = one === "microphone" ? this.on[one] : true;
        if (peer.publish(one, track)) peer.negotiate();
        this.save(this.mode);
      } else peer.sender(one)?.replaceTrack(null);
      this.#tell(one);
    }
    this.paint();
  }

  async startScreen() {
    try {
      const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 15 } }, audio: true });
      this.screen = stream.getTracks();
    } catch (error) {
      if (error.name !== "NotAllowedError") this.room.note(t("screen.failed"));
      return;
    }
    for (const track of this.screen) {
      if (track.kind === "video") { track.contentHint = "detail"; track.onended = () => this.stopScreen(); }
      this.room.peer?.publish(track.kind === "video" ? "screen" : "screen-audio", track);
    }
    this.room.peer?.negotiate();
    this.paint();
  }

  stopScreen() {
    for (const track of this.screen) { track.onended = null; track.stop(); }
    this.screen = [];
    const gone = ["screen", "screen-audio"].map((source) => this.room.peer?.unpublish(source));
    if (gone.some(Boolean)) this.room.peer.negotiate();
    this.paint();
  }

  /** What the connection's statistics say of the way up. Returns whether that changes anything. */
  measure(stats) {
    const found = this.#outgoing.read(stats, performance.now());
    if (found.other) this.uplink.forget(); // another network, and ICE went on without a word
    this.uplink.learn(found.now, found.pair);
    const other = found.other || (found.sent !== undefined && this.uplink.take(found));
    this.save(this.mode); // also what could not be set the last time, since another change was on its way
    const said = this.held.take({ now: found.now, by: this.less ? "link" : reason(stats) });
    if (said) this.#say();
    return other || said;
  }

  /** Whether pictures go up smaller than they could, or not at all, because of the link. */
  get less() { return this.uplink.video !== Infinity && (this.screen.length > 0 || (this.on.camera && Boolean(this.media.camera))); }

  /** The link is another one: what was learnt of it holds no more. */
  forget() {
    this.uplink.forget();
    this.save(this.mode);
  }

  /** auto, low or audio: how much goes up, within what the link holds. */
  save(mode) {
    this.mode = mode;
    const { uplink } = this, free = uplink.video === Infinity;
    this.#limit("microphone", (e) => { e.maxBitrate = mode === "auto" ? uplink.sound : LOW_AUDIO_BPS; });
    // What a shared screen shows is read: it has what there is, the camera waits.
    const camera = this.screen.length && !free ? 0 : uplink.video;
    this.#pictures("camera", (i) => camera > 0 && ((mode === "auto" && free) || (mode !== "audio" && i === 0)), camera, uplink.frames);
    this.#pictures("screen", (i) => free || i === 0, Math.max(uplink.video, LEAST_SCREEN_BPS), 5);
  }

  #pictures(source, active, bps, frames) {
    this.#limit(source, (e, i, full) => {
      e.active = Boolean(active(i));
      if (i) return;
      const { maxBitrate = Infinity, maxFramerate = Infinity } = full, less = bps < maxBitrate;
      set(e, "maxBitrate", less ? Math.round(Math.max(LEAST_BPS, bps)) : maxBitrate);
      set(e, "maxFramerate", less ? Math.min(maxFramerate, frames) : maxFramerate);
    });
  }

  // Only what has been negotiated can be changed; before, the offer's encodings hold.
  #limit(source, change) {
    const sender = this.room.peer?.sender(source), parameters = sender?.getParameters();
    if (!parameters?.encodings?.length || !parameters.transactionId) return;
    const before = JSON.stringify(parameters.encodings);
    if (!this.#full.has(sender)) this.#full.set(sender, parameters.encodings.map((e) => ({ ...e })));
    parameters.encodings.forEach((e, i) => change(e, i, this.#full.get(sender)[i] ?? {}));
    if (JSON.stringify(parameters.encodings) !== before) sender.setParameters(parameters).catch(() => {});
  }

  close() {
    for (const track of this.screen) { track.onended = null; track.stop(); }
    this.screen = [];
    this.mine.clear();
  }

  paint() {
    const mic = this.on.microphone && Boolean(this.media.microphone), camera = this.on.camera && Boolean(this.media.camera);
    this.#button("mic", mic, "mic", "microphone");
    this.#button("camera", camera, "camera", "camera");
    this.tiles.own(camera ? this.media.camera : null, mic);
    $("screen").hidden = !this.may("screen") || !navigator.mediaDevices?.getDisplayMedia;
    $("screen").lastElementChild.textContent = t(this.screen.length ? "screen.stop" : "screen.start");
  }

  #button(id, on, name, source) {
    const button = $(id);
    button.hidden = !this.may(source);
    button.setAttribute("aria-pressed", on);
    button.title = t(`${name}.${on ? "on" : "off"}`);
    setIcon(button, on ? name : `${name}-off`);
  }
}

// A limit that is none must not be there.
function set(encoding, name, value) {
  if (Number.isFinite(value)) encoding[name] = value; else delete encoding[name];
}
