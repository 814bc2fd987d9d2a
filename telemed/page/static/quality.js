// How good the link is: measured here and at the relay, said in a word, bars and figures, and reported back.

import { Emitter } from "./events.js";
import { $, el } from "./dom.js";
import { number, onLanguage, t } from "./texts.js";

const EVERY_MS = 2000;
const REPORT_MS = 10000;

/** 4 good to 1 very weak, from loss (fraction), jitter and round trip (ms) and the relay's sound score. */
export function level({ lost = 0, jitter = 0, round = 0, mos = 0 }) {
  const steps = [[0.02, 40, 300], [0.06, 80, 600], [0.15, 160, 1200]];
  let found = 4 - steps.filter(([l, j, r]) => lost > l || jitter > j || round > r).length;
  if (mos > 0) found = Math.min(found, mos >= 3.6 ? 4 : mos >= 3 ? 3 : mos >= 2.2 ? 2 : 1);
  return found;
}

/** Emits `level`, and `stats` (RTCStatsReport) of the peer in use. */
export class Quality extends Emitter {
  constructor(signalling) {
    super();
    this.signalling = signalling;
    this.peer = null;
    this.weak = "";
    this.connected = false;
    this.level = null;
    this.figures = {};
    this.relay = null;
    setInterval(() => this.measure(), EVERY_MS);
    setInterval(() => this.#report(), REPORT_MS);
    onLanguage(() => this.paint());
  }

  #last = null;
  #reported = {};

  use(peer) {
    this.peer = peer;
    this.#last = null;
    this.#reported = {};
    this.relay = null;
    this.firstFrame = null;
    this.begun = performance.now();
  }

  /** The relay's own measure of this link. */
  take(message) {
    this.relay = message;
    this.measure();
  }

  async measure() {
    const { peer } = this;
    if (!peer || peer.closed) return;
    const stats = await peer.pc.getStats();
    if (peer !== this.peer || peer.closed) return;
    this.emit("stats", stats);
    const now = sums(stats), last = this.#last;
    this.#last = now;
    if (this.firstFrame === null && now.frames > 0) this.firstFrame = performance.now() - this.begun;
    if (last && now.time > last.time) {
      const seconds = (now.time - last.time) / 1000, got = now.received - last.received, missing = Math.max(0, now.lost - last.lost);
      const relay = this.relay ?? {};
      this.figures = {
        lost: Math.max(got + missing > 0 ? missing / (got + missing) : 0, now.uplost, relay.sent_lost ?? 0, relay.received_lost ?? 0),
        jitter: Math.max(now.jitter, relay.jitter_ms ?? 0),
        round: now.round || relay.round_trip_ms || 0,
        down: Math.max(0, now.bytesIn - last.bytesIn) * 8 / seconds,
        up: Math.max(0, now.bytesOut - last.bytesOut) * 8 / seconds,
        mos: relay.mos ?? 0,
      };
    }
    this.judge();
  }

  judge() {
    let found = this.connected ? level(this.figures) : 0;
    if (found > 0 && this.weak) found = Math.min(found, this.weak === "paused" ? 2 : 3);
    if (found !== this.level) { this.level = found; this.emit("level", found); }
    this.paint();
  }

  paint() {
    const meter = $("meter");
    if (this.level === null) return;
    const word = t(`quality.${this.level}`);
    meter.dataset.level = this.level;
    $("meter-word").textContent = word;
    meter.title = t("quality.label", { word });
    meter.setAttribute("aria-label", meter.title);
    $("quality-words").textContent = `${word}. ${t(`quality.means-${this.level}`)}`;
    const f = this.figures;
    const rows = f.lost === undefined ? [["quality.measuring", ""]] : [
      ["quality.lost", `${number(f.lost * 100, 1)} %`], ["quality.jitter", `${number(f.jitter)} ms`], ["quality.round", f.round ? `${number(f.round)} ms` : "–"],
      ["quality.down", `${number(f.down / 1000)} kbit/s`], ["quality.up", `${number(f.up / 1000)} kbit/s`], ["quality.mos", f.mos ? `${number(f.mos, 1)} / ${number(4.5, 1)}` : "–"],
    ];
    $("quality-facts").replaceChildren(...rows.flatMap(([key, value]) => [el("dt", {}, t(key)), el("dd", {}, value)]));
  }

  /** What only this end sees, since the last time. */
  #report() {
    const now = this.#last;
    if (!now || !this.connected || this.peer?.closed) return;
    const since = (name) => Math.max(0, now[name] - (this.#reported[name] ?? 0));
    const report = {
      type: "report", freezes: since("freezes"), freeze_seconds: since("freezeSeconds"), frames: since("frames"), frames_dropped: since("dropped"), concealed_seconds: since("concealed"),
    };
    if (this.firstFrame !== null && !this.#reported.time) report.first_frame_ms = Math.round(this.firstFrame);
    this.#reported = now;
    this.signalling.tell(report);
  }
}

/** One set of sums over all of a connection's statistics. */
function sums(stats) {
  const s = { time: 0, received: 0, lost: 0, uplost: 0, jitter: 0, round: 0, bytesIn: 0, bytesOut: 0, frames: 0, dropped: 0, freezes: 0, freezeSeconds: 0, concealed: 0 };
  for (const r of stats.values()) {
    if (r.type === "inbound-rtp") {
      s.time = Math.max(s.time, r.timestamp);
      s.received += r.packetsReceived ?? 0;
      s.lost += r.packetsLost ?? 0;
      s.frames += r.framesDecoded ?? 0;
      s.dropped += r.framesDropped ?? 0;
      s.freezes += r.freezeCount ?? 0;
      s.freezeSeconds += r.totalFreezesDuration ?? 0;
      if (r.kind === "audio") {
        s.jitter = Math.max(s.jitter, (r.jitter ?? 0) * 1000);
        s.concealed += Math.max(0, (r.concealedSamples ?? 0) - (r.silentConcealedSamples ?? 0)) / 48000;
      }
    } else if (r.type === "remote-inbound-rtp") s.uplost = Math.max(s.uplost, r.fractionLost ?? 0);
    else if (r.type === "transport") {
      s.time = Math.max(s.time, r.timestamp);
      s.bytesIn += r.bytesReceived ?? 0;
      s.bytesOut += r.bytesSent ?? 0;
    } else if (r.type === "candidate-pair" && r.nominated && r.state === "succeeded") s.round = (r.currentRoundTripTime ?? 0) * 1000;
  }
  return s;
}
