// What goes up over a link that holds less than the browser believes: sound first, then as much picture as leaves the link's queue empty.

import { LOW_AUDIO_BPS, AUDIO_BPS } from "./codecs.js";

const SHORT_MS = 900; // statistics that come closer together are of one moment
const FULL_MS = 160; // what waits in the link: so much is felt in every answer
const SOME_MS = 100;
const LOST = 0.04; // of the sound, while something waits: the queue runs over
export const LEAST_BPS = 40000; // less is no picture
const MOST_BPS = 300000; // of who sends more the browser itself has layers to leave out
const TOP_BPS = 130000; // what the lowest layer takes; above it the browser's own estimate is left alone
const LESS = 0.75, MORE = 1.3;
const HOLD_MS = 3500; // until a change is seen in the figures
const PATIENCE_MS = [6000, 60000]; // an empty queue for so long before more is tried, and at most after tries that failed
const TRIED_MS = 20000; // a queue that fills within that time of a try was filled by it
const ALONE_MS = 6000; // of sound alone, none of it lost: what waits now is not ours, or the way has become longer
const KNOWN_MS = 120000; // that the least round trip is remembered: the way may have changed

/** Decides from round trip, loss and what was sent; `take` returns whether the plan is another one. Knows nothing of the browser. */
export class Uplink {
  constructor() { this.forget(); }

  /** The link is another one. */
  forget() {
    this.video = Infinity; // bit/s of all pictures; 0: none, Infinity: as the browser thinks
    this.lean = false; // little but sound goes up, and even that fills the link
    this.queue = 0;
    this.#rounds = [];
    this.#begun = null; // what was at the first step down
    this.#before = 0;
    [this.#patience] = PATIENCE_MS;
    this.#changed = this.#cut = this.#tried = -Infinity;
    this.#full = false; // it was, the last time
    this.#calm = this.#alone = null; // since when the queue is empty; since when little but sound goes up and arrives
    this.#failed = false; // the last try filled the queue
  }

  #rounds; #alone; #begun; #before; #patience; #changed; #cut; #tried; #full; #calm; #failed;

  /** bit/s for the microphone. */
  get sound() { return this.lean || this.video < 90000 ? LOW_AUDIO_BPS : AUDIO_BPS; }

  /** Pictures a second that fit. */
  get frames() { return this.video < 60000 ? 8 : this.video < 90000 ? 12 : 20; }

  /** now: ms. round: ms, 0 unknown. lost: share of the sound that did not arrive or was sent again. sent: bit/s of pictures. */
  take({ now, round, lost, sent }) {
    if (now - this.#before < SHORT_MS) return false;
    this.#before = now;
    this.learn(now, round);
    if (sent >= LEAST_BPS / 2 || lost >= LOST) this.#alone = null; else this.#alone ??= now;
    if (this.#alone !== null && now - this.#alone > ALONE_MS) this.#rounds = this.#rounds.filter((r) => r.now >= this.#alone);
    this.queue = round > 0 ? round - Math.min(...this.#rounds.map((r) => r.round)) : 0;
    const { video, lean } = this;
    this.video = this.#video(now, lost, sent);
    return this.video !== video || this.lean !== lean;
  }

  /** A round trip, ms: the least of late is that of an empty link. */
  learn(now, round) {
    if (round > 0) this.#rounds.push({ now, round });
    while (this.#rounds.length && now - this.#rounds[0].now > KNOWN_MS) this.#rounds.shift();
  }

  #video(now, lost, sent) {
    const over = this.queue >= SOME_MS && lost >= LOST, full = over || this.queue >= FULL_MS;
    if (!full) {
      this.#full = false;
      if (this.queue >= SOME_MS) this.#calm = null; else this.#calm ??= now;
      return this.#more(now);
    }
    this.#calm = null;
    const again = this.#full;
    this.#full = true;
    if (now - this.#changed < HOLD_MS || !(again || (over && this.queue >= FULL_MS)) || sent > MOST_BPS) return this.video;
    if (sent < LEAST_BPS / 2) {
      this.lean ||= over; // a queue alone may be another's
      return this.video;
    }
    if (this.video === Infinity) this.#begun = { queue: this.queue, sent, lost };
    this.#begun.lost = Math.max(this.#begun.lost, lost);
    if (this.#begun.lost < LOST && sent < 0.7 * this.#begun.sent && this.queue > 0.6 * this.#begun.queue) return this.#longer();
    this.#failed = now - this.#tried < TRIED_MS;
    if (this.#failed) this.#patience = Math.min(2 * this.#patience, PATIENCE_MS[1]);
    this.#changed = this.#cut = now;
    const less = LESS * Math.min(this.video, sent);
    return less < LEAST_BPS ? 0 : Math.min(less, TOP_BPS);
  }

  // With much less sent as much waits, and nothing is lost: the way is longer than it was, nothing waits.
  #longer() {
    const rounds = this.#rounds.slice(-2);
    this.forget();
    this.#rounds = rounds;
    return Infinity;
  }

  #more(now) {
    // What was tried and held is gone on from soon.
    const wait = this.#tried < this.#cut ? this.#patience : HOLD_MS;
    if (this.#calm === null || now - this.#calm < wait || now - this.#changed < wait) return this.video;
    this.lean = false;
    if (this.video === Infinity) return Infinity;
    if (!this.#failed) this.#patience = Math.max(this.#patience / 2, PATIENCE_MS[0]);
    this.#failed = false;
    this.#changed = this.#tried = now;
    const more = Math.max(LEAST_BPS * MORE, this.video * MORE);
    return more > TOP_BPS ? Infinity : more;
  }
}

/** Statistics of a connection as `Uplink.take` wants them; one a connection. */
export class Outgoing {
  #last = null;
  #way = "";

  /** `pair`: the round trip of ICE, ms, measured also before anything is sent; `other`: it is that of another way; the rest comes from the second time on. */
  read(stats, now) {
    const s = { time: 0, packets: 0, again: 0, video: 0, round: 0, lost: 0, pair: 0, way: this.#way };
    for (const r of stats.values()) {
      if (r.type === "outbound-rtp") {
        s.time = Math.max(s.time, r.timestamp);
        if (r.kind === "video") s.video += (r.bytesSent ?? 0) + (r.headerBytesSent ?? 0);
        else { s.packets += r.packetsSent ?? 0; s.again += r.retransmittedPacketsSent ?? 0; }
      } else if (r.type === "remote-inbound-rtp") {
        s.round = Math.max(s.round, (r.roundTripTime ?? 0) * 1000);
        if (r.kind === "audio") s.lost = Math.max(s.lost, r.fractionLost ?? 0);
      } else if (r.type === "candidate-pair" && r.nominated && r.state === "succeeded") { s.pair = (r.currentRoundTripTime ?? 0) * 1000; s.way = r.id; }
    }
    const last = this.#last, other = this.#way !== "" && s.way !== this.#way;
    this.#last = s;
    this.#way = s.way;
    if (!last || other || s.time <= last.time) return { now, pair: s.pair, other };
    const packets = s.packets - last.packets;
    const again = packets > 10 ? (s.again - last.again) / packets : 0;
    return { now, pair: s.pair, other, round: s.round || s.pair, lost: Math.max(again, s.lost), sent: Math.max(0, s.video - last.video) * 8000 / (s.time - last.time) };
  }
}
