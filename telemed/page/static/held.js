// What holds a sent picture back: the machine, which has no time for it, or the link. Said to the others once it has lasted.

const LASTS_MS = 8000; // shorter than that it is a moment, or a call that has just begun and still climbs

/** What a browser's statistics say of pictures that go up now: "device" before "link", "" for neither. */
export function reason(stats) {
  const found = new Set();
  for (const r of stats.values()) if (r.type === "outbound-rtp" && r.kind === "video" && r.active !== false) found.add(r.qualityLimitationReason);
  return found.has("cpu") ? "device" : found.has("bandwidth") ? "link" : "";
}

/** `take` returns whether what is to be said is another thing. Knows nothing of the browser. */
export class Held {
  by = "";
  #next = "";
  #since = 0;

  /** now: ms. by: what holds the picture back at this moment. */
  take({ now, by }) {
    if (by !== this.#next) { this.#next = by; this.#since = now; }
    if (by === this.by || now - this.#since < LASTS_MS) return false;
    this.by = by;
    return true;
  }
}
