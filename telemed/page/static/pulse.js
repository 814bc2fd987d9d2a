// Whether anything comes any more: the relay reports each second on what it is sent, and ICE gives a way that is silent five seconds and more.

const SILENT_MS = 2500;

/** One a connection. `take` returns true once, when nothing has come for too long. */
export class Pulse {
  #seen = "";
  #at = null; // of the last sign; null: there was none yet, or its absence has been told

  take(stats, now) {
    let packets = 0, reported = 0;
    for (const r of stats.values()) {
      if (r.type === "inbound-rtp") packets += r.packetsReceived ?? 0;
      else if (r.type === "remote-inbound-rtp") reported = Math.max(reported, r.timestamp);
    }
    // Who sends nothing is not reported on: the silence of others would look like that of the link.
    if (!reported) return false;
    const seen = `${packets} ${reported}`;
    if (seen !== this.#seen) { this.#seen = seen; this.#at = now; return false; }
    if (this.#at === null || now - this.#at < SILENT_MS) return false;
    this.#at = null;
    return true;
  }
}
