// The one RTCPeerConnection: always offers, one offer at a time, restarts ICE when the link is cut, and gives every wanted track an m-line.

import { Emitter } from "./events.js";
import { adorn, describeLayers, encodings, preferVp8 } from "./codecs.js";
import { Playout } from "./playout.js";

const CUT_MS = 1200; // disconnected for this long: restart
const RETRY_MS = [3000, 4000, 6000, 8000];
const LABELS = ["vitals", "file"];

/** Emits `track` (id, MediaStreamTrack), `state` (of ICE), `channel` (RTCDataChannel, own), `gone` (the relay has no such peer). */
export class Peer extends Emitter {
  constructor(signalling, iceServers, phone) {
    super();
    this.signalling = signalling;
    this.phone = phone;
    this.sent = []; // {source, name, transceiver}
    this.slots = []; // {kind, transceiver, track: id | null}
    this.closed = false;
    this.restarts = 0;
    this.pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle", rtcpMuxPolicy: "require" });
    this.pc.onicecandidate = ({ candidate }) =>
      signalling.tell({ type: "candidate", candidate: candidate?.candidate ?? "", mid: candidate?.sdpMid ?? "0" });
    this.pc.oniceconnectionstatechange = () => this.#ice();
    this.pc.ondatachannel = ({ channel }) => this.emit("channel", channel, false);
    this.own = LABELS.map((label) => this.pc.createDataChannel(label, { ordered: true }));
  }

  #needed = false;
  #running = false;
  #timer = 0;
  #tries = 0;
  #munge = true;

  get state() { return this.pc.iceConnectionState; }
  get up() { return this.state === "connected" || this.state === "completed"; }

  /** Sends `track` as `source`; the m-line stays when the source is switched off and on. Returns whether an offer is needed. */
  publish(source, track, name = "") {
    const known = this.sent.find((s) => s.source === source && s.name === name);
    if (known) {
      known.transceiver.sender.replaceTrack(track);
      if (known.transceiver.direction === "sendonly") return false;
      known.transceiver.direction = "sendonly";
      return true;
    }
    const transceiver = this.pc.addTransceiver(track, { direction: "sendonly", sendEncodings: encodings(source, this.phone), streams: [] });
    if (track.kind === "video") preferVp8(transceiver);
    this.sent.push({ source, name, transceiver });
    return true;
  }

  /** Ends the track at the relay; its m-line is kept for the next time. */
  unpublish(source) {
    const known = this.sent.find((s) => s.source === source);
    if (!known || known.transceiver.direction === "inactive") return false;
    known.transceiver.sender.replaceTrack(null);
    known.transceiver.direction = "inactive";
    return true;
  }

  sender(source) {
    return this.sent.find((s) => s.source === source)?.transceiver.sender ?? null;
  }

  /** Puts a track of the room on a free m-line, or on a new one with the next offer. */
  want({ id, kind }) {
    if (this.closed || this.slots.some((s) => s.track === id)) return;
    let slot = this.slots.find((s) => s.kind === kind && s.track === null);
    const ready = slot && slot.transceiver.currentDirection === "recvonly";
    slot ??= this.#slot(kind);
    slot.track = id;
    this.emit("track", id, slot.transceiver.receiver.track);
    if (!ready) { this.negotiate(); return; }
    this.signalling.request({ type: "bind", mid: slot.transceiver.mid, track: id }).catch((error) => {
      if (error.code === "unknown-track") { if (slot.track === id) slot.track = null; } else if (error.code !== "restored") this.negotiate();
    });
  }

  unwant(id) {
    const slot = this.slots.find((s) => s.track === id);
    if (slot) slot.track = null;
  }

  /** The mid that carries a track, for statistics. */
  midOf(id) {
    return this.slots.find((s) => s.track === id)?.transceiver.mid ?? null;
  }

  /** Holds sound back for as long as its statistics ask for. */
  hold(r) {
    const slot = this.slots.find((s) => s.transceiver.mid === r.mid), receiver = slot?.transceiver.receiver;
    if (!receiver || !("jitterBufferTarget" in receiver)) return;
    const ms = slot.playout.take(r) || null;
    if (receiver.jitterBufferTarget !== ms) receiver.jitterBufferTarget = ms;
  }

  #slot(kind) {
    const slot = { kind, transceiver: this.pc.addTransceiver(kind, { direction: "recvonly" }), track: null, playout: new Playout() };
    if (kind === "video") {
      preferVp8(slot.transceiver, RTCRtpReceiver);
      describeLayers(slot.transceiver);
    }
    this.slots.push(slot);
    return slot;
  }

  /** Offers as things now stand; while an offer is on its way, once more after it. */
  async negotiate() {
    this.#needed = true;
    if (this.#running) return;
    this.#running = true;
    let failed = 0;
    while (this.#needed && !this.closed) {
      this.#needed = false;
      try {
        await this.#offer();
        failed = 0;
      } catch (error) {
        if (this.closed) break;
        if (this.pc.signalingState === "have-local-offer") await this.pc.setLocalDescription({ type: "rollback" }).catch(() => {});
        if (error.code === "restored") break; // `welcome` decides what comes now
        if (error.code === "closed") { this.emit("gone"); break; }
        failed += 1;
        this.emit("problem", error);
        if (failed >= 3) break;
        this.#needed = true;
        await new Promise((done) => setTimeout(done, 500 * failed));
      }
    }
    this.#running = false;
  }

  async #offer() {
    // One of each kind in reserve: who comes next is heard one round trip earlier.
    for (const kind of ["audio", "video"]) if (!this.slots.some((s) => s.kind === kind && s.track === null)) this.#slot(kind);
    const { pc } = this;
    const offer = await pc.createOffer();
    if (this.#munge) {
      try {
        await pc.setLocalDescription({ type: "offer", sdp: adorn(offer.sdp, { nack: true }) });
      } catch {
        this.#munge = false; // a browser that takes only its own words
        await pc.setLocalDescription(offer);
      }
    } else await pc.setLocalDescription(offer);
    const publish = {}, wanted = {};
    for (const { source, name, transceiver } of this.sent) {
      if (transceiver.direction === "sendonly" && transceiver.mid !== null) publish[transceiver.mid] = name ? { source, name } : { source };
    }
    for (const { track, transceiver } of this.slots) if (transceiver.mid !== null) wanted[transceiver.mid] = track;
    const answer = await this.signalling.request({ type: "offer", sdp: adorn(pc.localDescription.sdp), publish, wanted });
    if (this.closed) return;
    await pc.setRemoteDescription({ type: "answer", sdp: adorn(answer.sdp) });
    for (const mid of answer.missing ?? []) {
      const slot = this.slots.find((s) => s.transceiver.mid === mid);
      if (slot) slot.track = null;
    }
    // What was bound to a slot while this offer was on its way is not in it.
    for (const { track, transceiver } of this.slots) {
      if (track !== null && transceiver.mid !== null && wanted[transceiver.mid] !== track) this.#needed = true;
    }
    this.emit("negotiated");
  }

  /** New ICE credentials: the link was cut or the address has changed. */
  restart() {
    if (this.closed || !this.pc.remoteDescription) return;
    this.restarts += 1;
    this.pc.restartIce();
    this.negotiate();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#retry(), RETRY_MS[Math.min(this.#tries++, RETRY_MS.length - 1)]);
  }

  #retry() {
    if (this.closed || this.up) return;
    if (this.signalling.state === "up") this.restart();
    else this.#timer = setTimeout(() => this.#retry(), 1000);
  }

  #ice() {
    const { state } = this;
    this.emit("state", state);
    clearTimeout(this.#timer);
    if (this.up) this.#tries = 0;
    else if (state === "disconnected") this.#timer = setTimeout(() => { this.signalling.check(); this.restart(); }, CUT_MS);
    else if (state === "failed") this.#retry();
    else if (state === "checking") this.#timer = setTimeout(() => this.#retry(), 8000);
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.#timer);
    this.pc.oniceconnectionstatechange = null;
    this.pc.onicecandidate = null;
    this.pc.close();
  }
}
