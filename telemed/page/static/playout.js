// How long sound is held back before it is played: longer where what was lost comes again too late, not at all where nothing is missing.

const MISSED = 0.03, WHOLE = 0.005; // share of sound that was made up
const STEP_MS = 60, MOST_MS = 400;
const CALM_MS = 15000; // whole for so long: a step back

/** One stream of sound. `take` returns the ms it is to be held back, 0: as the browser thinks. */
export class Playout {
  held = 0;
  #last = null;
  #calm = null;

  /** r: its RTCInboundRtpStreamStats. */
  take(r) {
    const s = {
      time: r.timestamp, all: r.totalSamplesReceived ?? 0, made: (r.concealedSamples ?? 0) - (r.silentConcealedSamples ?? 0), late: r.packetsDiscarded ?? 0,
      events: r.concealmentEvents ?? 0, delay: r.jitterBufferDelay ?? 0, emitted: r.jitterBufferEmittedCount ?? 0,
    };
    const last = this.#last;
    if (last && s.time - last.time < 1900) return this.held;
    this.#last = s;
    const all = s.all - (last?.all ?? s.all);
    if (all < 24000) return this.held; // little was played: DTX, or just begun
    const missed = (s.made - last.made) / all;
    if (missed > WHOLE) this.#calm = null; else this.#calm ??= s.time;
    // Where nothing came late, waiting longer brings nothing.
    if (missed > MISSED && s.late - last.late >= (s.events - last.events) / 4) {
      const now = s.emitted > last.emitted ? ((s.delay - last.delay) / (s.emitted - last.emitted)) * 1000 : 0;
      this.held = Math.min(MOST_MS, Math.max(this.held, Math.min(now, MOST_MS)) + STEP_MS);
    } else if (this.held && this.#calm !== null && s.time - this.#calm > CALM_MS) {
      this.held = this.held > 2 * STEP_MS ? this.held - STEP_MS : 0;
      this.#calm = s.time;
    }
    return this.held;
  }
}
