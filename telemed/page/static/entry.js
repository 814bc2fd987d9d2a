// How this person comes in: the join token from the address or the hub, and what the tab remembers for coming back.

const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";
export const prefix = meta("telemed") || "/telemed";
export const back = meta("back");
const JOIN = meta("join");
const KEY = "hh-room";

// The address is read once; a token leaves it at once, so that it is neither copied, bookmarked nor kept in the history.
const given = new URLSearchParams(location.hash.slice(1));
if (given.has("token")) history.replaceState(null, "", location.pathname + location.search);

function remembered() {
  try { return JSON.parse(sessionStorage.getItem(KEY)) ?? {}; } catch { return {}; }
}

function random() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

/** What the tab keeps: client, token, resume, where (which way in it belongs to). */
export class Entry {
  constructor() {
    const open = { room: given.get("room"), participant: given.get("participant"), name: given.get("name"), role: given.get("role") };
    this.open = Object.fromEntries(Object.entries(open).filter(([, value]) => value));
    const fresh = given.get("token");
    const where = fresh ?? (JOIN || this.open.room || "");
    let kept = remembered();
    if (fresh === null && !JOIN && !this.open.room) { /* a reload after the token left the address */ } else if (kept.where !== where) kept = {};
    this.kept = { client: random(), ...kept, where: kept.where ?? where };
    if (fresh) this.kept.token = fresh;
    this.keep();
  }

  keep(change = {}) {
    Object.assign(this.kept, change);
    try { sessionStorage.setItem(KEY, JSON.stringify(this.kept)); } catch { /* no storage: a reload comes in as new */ }
  }

  /** After leaving: nothing to come back with but the token. What shows who we were still sends a message for later. */
  forget() {
    const sender = this.kept.resume ? { token: this.kept.resume, client: this.kept.client } : this.kept.sender;
    this.keep({ resume: null, client: random(), on: {}, sender });
  }

  get client() { return this.kept.client; }
  get resume() { return this.kept.resume ?? null; }
  /** Whether there is any way in. */
  get known() { return Boolean(this.kept.token || this.kept.resume || JOIN || this.open.room); }
  /** Whether a new token can be had. */
  get renewable() { return Boolean(JOIN); }

  /** A join token; with `anew` one that was never used. Null: none is needed or to be had. */
  async token(anew = false) {
    if (JOIN && (anew || !this.kept.token)) {
      const answer = await fetch(JOIN, { method: "POST", credentials: "same-origin", headers: { Accept: "application/json" } });
      if (!answer.ok) throw Object.assign(new Error(`join: ${answer.status}`), { status: answer.status });
      this.keep({ token: (await answer.json()).token });
    }
    return this.kept.token ?? null;
  }

  /** {token, client}: what may send and read messages for later, the newest thing that shows who this is. */
  bearer() {
    if (this.kept.resume) return { token: this.kept.resume, client: this.kept.client };
    return this.kept.sender ?? { token: this.kept.token ?? "", client: "" };
  }
}

/** As headers; a resume token is nothing without the client that it was given to. */
export const authorization = ({ token, client }) => ({ Authorization: `Bearer ${token}`, ...(client ? { "Telemed-Client": client } : {}) });

/** The room that a token names, without believing it. */
export function roomOf(token) {
  try { return JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).room ?? null; } catch { return null; }
}
