// Everyone's pictures and voices: which tiles there are, how they share the stage, who speaks, and what is asked of the relay for each.

import { Emitter } from "./events.js";
import { $, el, settle } from "./dom.js";
import { onLanguage, t } from "./texts.js";
import { Tile } from "./tile.js";

const SPEAKING = -50; // dBov
const CLIMB_MS = 10000; // a picture that has just come climbs to what both links carry; nobody calls one weak meanwhile
/** A picture with a tile of its own beside its sender's: a screen, an ultrasound probe. */
const shared = ({ kind, source }) => kind === "video" && (source === "screen" || source === "device");

/** Emits `prefer` ({track, layer, paused, priority}) and `weak` ("", lower, paused). */
export class Tiles extends Emitter {
  constructor() {
    super();
    this.people = new Map();
    this.tracks = new Map(); // id -> {info, media}
    this.tiles = new Map(); // participant id, or track id of a shared picture -> Tile
    this.voices = new Map(); // track id -> audio element
    this.choices = new Map(); // track id -> LayerChoice
    this.lower = new Map(); // track id -> {told}, of those that have less than they could for want of bandwidth
    this.asked = new Map(); // track id -> what was last preferred, as JSON
    this.mode = "auto";
    this.pinned = null;
    this.self = new Tile("self", null);
    this.self.root.dataset.mirror = "true";
    this.self.root.dataset.fill = "true";
    $("self").append(this.self.root);
    this.#lay = settle(() => this.layout(), 30);
    new ResizeObserver(this.#lay).observe($("tiles"));
    document.addEventListener("visibilitychange", () => this.#prefer());
    onLanguage(() => this.#again());
  }

  #lay;

  // ---- people ----

  me(person) {
    this.mine = person;
    this.self.is({ ...person, name: t("you") });
    this.self.role.hidden = true;
  }

  person(person) {
    this.people.set(person.id, person);
    const tile = this.tiles.get(person.id) ?? this.#add(person.id);
    tile.is(person);
    this.#state(person.id);
    for (const { info } of this.tracks.values()) if (info.participant === person.id && shared(info)) this.#shared(info);
  }

  gone(id) {
    this.people.delete(id);
    for (const [track, { info }] of this.tracks) if (info.participant === id) this.remove(track);
    this.#drop(id);
  }

  clear() {
    for (const id of [...this.tracks.keys()]) this.remove(id);
    for (const id of [...this.people.keys()]) this.gone(id);
    this.asked.clear();
  }

  // ---- tracks ----

  /** A track of the room and, once there is an m-line for it, its MediaStreamTrack. */
  track(info, media) {
    const known = this.tracks.get(info.id);
    media ??= known?.media ?? null;
    this.tracks.set(info.id, { info, media });
    if (info.kind === "audio") this.#voice(info, media);
    else if (shared(info)) this.#shared(info);
    this.#state(info.participant);
    this.#lay();
  }

  remove(id) {
    const known = this.tracks.get(id);
    if (!known) return;
    this.tracks.delete(id);
    this.choices.delete(id);
    this.lower.delete(id);
    this.asked.delete(id);
    const voice = this.voices.get(id);
    if (voice) { voice.srcObject = null; voice.remove(); this.voices.delete(id); }
    this.#drop(id);
    this.#state(known.info.participant);
    this.#weak();
  }

  layer(choice) {
    const { track, paused, reason } = choice;
    if (paused || (reason !== "bandwidth" && reason !== "source")) this.lower.delete(track);
    // A sender's layer also rests for a moment when its machine is busy.
    else if (!this.lower.has(track)) this.#lowered(track, reason === "bandwidth" && this.choices.has(track));
    this.choices.set(track, choice);
    this.#look(track);
  }

  #lowered(track, told) {
    const mark = { told };
    this.lower.set(track, mark);
    if (!told) setTimeout(() => { mark.told = true; this.#look(track); }, CLIMB_MS);
  }

  #look(track) {
    const known = this.tracks.get(track);
    if (known) this.#state(known.info.participant);
    this.#weak();
  }

  /** Loudest first. */
  speakers(levels) {
    for (const [key, tile] of this.tiles) tile.root.dataset.speaking = (levels[key] ?? -127) > SPEAKING;
    this.self.root.dataset.speaking = (levels[this.mine?.id] ?? -127) > SPEAKING;
  }

  /** One's own picture and microphone. */
  own(camera, micOn) {
    this.self.show(camera);
    this.self.because(camera ? "" : "muted");
    this.self.mute(!micOn);
  }

  /** The link is gone, or is back: every picture keeps its last frame meanwhile. */
  hold(lost) {
    this.lost = lost;
    for (const tile of this.tiles.values()) if (lost) tile.hold(); else this.#state(tile.person?.id);
  }

  /** auto, low or audio */
  save(mode) {
    this.mode = mode;
    this.#prefer();
  }

  speaker(id) {
    this.sink = id;
    for (const voice of this.voices.values()) voice.setSinkId?.(id).catch(() => {});
  }

  unblock() {
    for (const voice of this.voices.values()) voice.play().catch(() => {});
    document.querySelector(".unmute")?.remove();
  }

  /** For tests: each tile and what it shows. */
  state() {
    return [...this.tiles.values()].map((tile) => ({
      key: tile.key, name: tile.name.textContent, reason: tile.reason, still: !tile.still.hidden, width: tile.video.videoWidth, height: tile.video.videoHeight,
      seconds: tile.video.currentTime, speaking: tile.root.dataset.speaking === "true", muted: !tile.off.hidden,
    }));
  }

  #add(key) {
    const tile = new Tile(key, (pinned) => { this.pinned = this.pinned === pinned ? null : pinned; this.layout(); });
    this.tiles.set(key, tile);
    tile.video.addEventListener("resize", () => this.#state(tile.person?.id));
    $("tiles").append(tile.root);
    this.#lay();
    return tile;
  }

  #drop(key) {
    this.tiles.get(key)?.root.remove();
    if (this.tiles.get(key)) this.tiles.get(key).video.srcObject = null;
    this.tiles.delete(key);
    this.#lay();
  }

  #shared(info) {
    const person = this.people.get(info.participant);
    if (!person) return;
    const tile = this.tiles.get(info.id) ?? this.#add(info.id);
    tile.is(person, info.name || (info.source === "screen" ? t("tile.screen", { name: person.name }) : person.name));
  }

  #voice(info, media) {
    let voice = this.voices.get(info.id);
    if (!voice) {
      voice = el("audio", { autoplay: true });
      if (this.sink) voice.setSinkId?.(this.sink).catch(() => {});
      document.body.append(voice);
      this.voices.set(info.id, voice);
    }
    if (!media || voice.srcObject?.getAudioTracks()[0] === media) return;
    voice.srcObject = new MediaStream([media]);
    voice.play().catch((error) => { if (error.name === "NotAllowedError") this.#blocked(); });
  }

  // The browser wants a gesture before it plays sound (a page that was loaded again).
  #blocked() {
    if (document.querySelector(".unmute")) return;
    $("tiles").parentElement.append(el("button", { type: "button", class: "unmute", onclick: () => this.unblock() }, t("unmute")));
  }

  /** Brings the tiles of a person to what is known of the person's tracks. */
  #state(id) {
    const person = this.people.get(id);
    if (!person) return;
    let microphone = null, camera = null;
    for (const { info, media } of this.tracks.values()) {
      if (info.participant !== id) continue;
      if (info.source === "microphone") microphone = info;
      else if (shared(info)) this.#picture(this.tiles.get(info.id), info, media, person);
      else if (info.kind === "video") camera = { info, media };
    }
    const tile = this.tiles.get(id);
    tile.mute(!microphone || microphone.muted);
    this.#picture(tile, camera?.info ?? null, camera?.media ?? null, person);
  }

  #picture(tile, info, media, person) {
    if (!tile) return;
    tile.show(media, info);
    const choice = info && this.choices.get(info.id), low = info && this.lower.get(info.id), source = choice?.reason === "source";
    let reason = "";
    if (person.link === "down") reason = "lost";
    else if (!info || info.muted) reason = "muted";
    else if (choice?.paused) reason = choice.reason || "bandwidth";
    else if (low && (low.told || (source && info.limited))) reason = source ? "lower-source" : "lower"; // who says it has waited as well
    tile.because(reason);
  }

  #weak() {
    let found = "";
    for (const [id, { paused, reason }] of this.choices) {
      if (reason !== "bandwidth" || this.tracks.get(id)?.info.kind !== "video") continue;
      if (paused) found = "paused"; else if (this.lower.get(id)?.told) found ||= "lower";
    }
    this.emit("weak", found);
  }

  #again() {
    if (this.mine) this.me(this.mine);
    for (const person of [...this.people.values()]) this.person(person);
    const blocked = document.querySelector(".unmute");
    if (blocked) blocked.textContent = t("unmute");
  }

  /** Shares the stage: all alike, or one large with the others below it. */
  layout() {
    const stage = $("tiles"), { clientWidth: width, clientHeight: height } = stage;
    // Machines without a picture of a person take no place beside what they show.
    const shown = [...this.tiles.values()].filter((tile) => tile.person?.id !== tile.key || tile.person.role !== "device");
    for (const tile of this.tiles.values()) tile.root.hidden = !shown.includes(tile);
    const screen = shown.find((tile) => tile.track && shared(tile.track));
    const large = shown.length > 1 ? shown.find((tile) => tile.key === this.pinned) ?? screen : null;
    const others = shown.filter((tile) => tile !== large);
    let columns;
    if (large) {
      columns = Math.max(1, Math.min(others.length, Math.floor(width / 96)));
      others.slice(columns).forEach((tile) => { tile.root.hidden = true; });
      stage.style.gridTemplateRows = "minmax(0, 3fr) minmax(0, 1fr)";
    } else {
      columns = best(others.length, width, height);
      stage.style.gridTemplateRows = "";
    }
    stage.style.setProperty("--columns", columns);
    $("self").dataset.above = Boolean(large); // not over the small ones below
    for (const tile of shown) {
      tile.root.style.order = tile === large ? -1 : 0;
      tile.root.style.gridColumn = tile === large ? "1 / -1" : "";
      tile.root.dataset.large = tile === large;
    }
    const nobody = shown.length === 0;
    $("alone").hidden = !nobody;
    $("alone").textContent = nobody ? t("alone") : "";
    this.#prefer();
  }

  /** Asks the relay for no more than is seen: what is small comes small, what is out of sight not at all. */
  #prefer() {
    for (const [id, { info, media }] of this.tracks) {
      if (info.kind !== "video" || !media || info.participant === this.mine?.id) continue;
      const tile = this.tiles.get(shared(info) ? id : info.participant);
      if (!tile) continue;
      const pixels = tile.root.clientHeight * Math.min(2, devicePixelRatio);
      const paused = document.hidden || tile.root.hidden || this.mode === "audio";
      const fit = pixels <= 200 ? 0 : pixels <= 420 ? 1 : 9;
      const { layers } = info;
      const layer = layers.length < 2 ? null : this.mode === "low" ? layers[0] : shared(info) || fit >= layers.length - 1 ? null : layers[fit];
      const priority = shared(info) ? 8 : tile.root.dataset.large === "true" ? 7 : 5;
      const wish = { track: id, layer, paused, priority };
      const text = JSON.stringify(wish);
      if (this.asked.get(id) === text) continue;
      if (!this.asked.has(id) && layer === null && !paused && priority === 5) { this.asked.set(id, text); continue; } // what the relay does unasked
      this.asked.set(id, text);
      this.emit("prefer", wish);
    }
  }
}

/** Columns that make `n` tiles of 4:3 largest. */
function best(n, width, height) {
  let found = 1, area = 0;
  for (let columns = 1; columns <= n; columns++) {
    const w = width / columns, h = height / Math.ceil(n / columns), side = Math.min(w, h * 4 / 3);
    if (side > area) { area = side; found = columns; }
  }
  return found;
}
