// One tile: a person or a shared picture, with name, marks, and the last frame held while the picture is paused.

import { el, icon } from "./dom.js";
import { t } from "./texts.js";

/** Initials of a Vietnamese name: of the given name, which comes last, and the one before; titles ("BS.") left out. */
function initials(name) {
  const words = name.split(/\s+/).filter((word) => word && !word.endsWith("."));
  return words.slice(-2).map((word) => word[0].toUpperCase()).join("") || "?";
}

/** Reasons for which the picture stands still. */
const STILL = ["bandwidth", "source", "asked", "lost"];

export class Tile {
  constructor(key, onPin) {
    this.key = key;
    this.video = el("video", { autoplay: true, playsInline: true, muted: true, hidden: true });
    this.still = el("canvas", { hidden: true });
    this.letters = el("div", { class: "initials", "aria-hidden": "true" });
    this.name = el("span", { class: "who" });
    this.role = el("span", { class: "role" });
    this.off = el("span", { class: "off", hidden: true }, icon("mic-off"), el("i", { class: "hidden-text" }));
    this.why = el("p", { class: "why", hidden: true });
    this.root = el("div", { class: "tile", role: "group", tabIndex: onPin ? 0 : -1 }, this.letters, this.video, this.still, this.why,
      el("div", { class: "plate" }, this.off, this.name, this.role));
    if (onPin) {
      this.root.addEventListener("click", () => onPin(key));
      this.root.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); onPin(key); } });
    }
    this.person = null;
    this.track = null; // TrackInfo of what is seen here
    this.reason = ""; // why there is no moving picture
  }

  /** Who this is; `label` is the name when it is not the person's own (a shared screen). */
  is(person, label) {
    this.person = person;
    const name = label ?? person.name;
    this.letters.textContent = initials(person.name);
    this.name.textContent = name;
    this.role.textContent = label ? "" : t(`role.${person.role}`);
    this.role.hidden = Boolean(label);
    this.root.setAttribute("aria-label", label ? name : `${name}, ${t(`role.${person.role}`)}`);
    this.#paint();
  }

  /** The moving picture, or null for none. */
  show(mediaTrack, info = null) {
    this.track = info;
    const now = this.video.srcObject?.getVideoTracks()[0] ?? null;
    if (now !== mediaTrack) {
      this.video.srcObject = mediaTrack ? new MediaStream([mediaTrack]) : null;
      if (mediaTrack) this.video.play().catch(() => {});
    }
    this.#paint();
  }

  mute(muted) {
    this.off.hidden = !muted;
    this.off.lastChild.textContent = muted ? t("tile.muted") : "";
  }

  /** Why the picture stands still ("" when it moves): bandwidth, source, asked, muted, lost; lower, lower-source: it moves, but less sharp. */
  because(reason) {
    const stopped = STILL.includes(reason);
    if (stopped && !STILL.includes(this.reason)) this.hold();
    if (!stopped && !this.still.hidden) this.#release();
    this.reason = reason;
    this.#paint();
  }

  /** Keeps the last frame in sight. */
  hold() {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (!width || this.video.hidden || !this.still.hidden) return;
    this.still.width = Math.min(width, 640);
    this.still.height = Math.round(height * this.still.width / width);
    this.still.getContext("2d").drawImage(this.video, 0, 0, this.still.width, this.still.height);
    this.still.hidden = false;
  }

  // The still goes when the next frame has come, not before: no black in between.
  #release() {
    const gone = () => { if (!STILL.includes(this.reason)) this.still.hidden = true; };
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(gone);
    else this.video.addEventListener("timeupdate", gone, { once: true });
  }

  #paint() {
    const off = this.reason === "muted" || this.track?.muted || !this.video.srcObject;
    this.video.hidden = off;
    if (off) this.still.hidden = true;
    this.letters.hidden = !off && (this.video.videoWidth > 0 || !this.still.hidden);
    const name = this.person?.name ?? "";
    const by = this.track?.limited; // as the sender itself says
    const source = by === "device" ? "tile.source-device" : "tile.source", lower = by ? `tile.lower-source-${by}` : "tile.lower-source";
    const text = { bandwidth: "tile.bandwidth", source, asked: "tile.asked", lost: "tile.lost", lower: "tile.lower", "lower-source": lower }[this.reason];
    const said = off && this.reason !== "lost" ? "" : text ? t(text, { name }) : "";
    this.why.hidden = !said;
    this.why.textContent = said;
    this.root.dataset.reason = this.reason;
  }
}
