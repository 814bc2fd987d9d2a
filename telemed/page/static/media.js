// Microphone, camera and screen of this device: getting them, choosing among them, switching them off and on.

import { Emitter } from "./events.js";

export const phone = matchMedia("(pointer: coarse)").matches && Math.min(screen.width, screen.height) < 600;
const SOUND = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
const PICTURE = phone ? { width: { ideal: 640 }, height: { ideal: 360 }, frameRate: { ideal: 24, max: 30 }, facingMode: "user" }
  : { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 24, max: 30 } };
const PROBLEMS = { NotAllowedError: "denied", SecurityError: "denied", NotFoundError: "missing", OverconstrainedError: "missing", NotReadableError: "busy", AbortError: "busy" };

/** Emits `change` when a track is another one or gone. `microphone`, `camera`: MediaStreamTrack or null. */
export class Media extends Emitter {
  constructor() {
    super();
    this.microphone = null;
    this.camera = null;
    this.chosen = { microphone: "", camera: "" }; // device ids, "": the default, "none": not used
    this.problem = ""; // denied, missing, busy, insecure
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.emit("devices"));
  }

  /** Asks for what is wanted; what cannot be had is null and `problem` says why. */
  async open({ audioOnly = false } = {}) {
    this.problem = "";
    if (!navigator.mediaDevices?.getUserMedia) { this.problem = "insecure"; return; }
    const want = { audio: this.#sound(), video: audioOnly ? false : this.#picture() };
    // Both in one question to the person; each alone when together they fail.
    let stream = await this.#ask(want);
    if (!stream && want.audio && want.video) {
      const first = this.problem;
      const parts = first === "denied" ? [] : [await this.#ask({ audio: want.audio }), await this.#ask({ video: want.video })];
      this.problem = first;
      stream = { getAudioTracks: () => parts.flatMap((p) => p?.getAudioTracks() ?? []), getVideoTracks: () => parts.flatMap((p) => p?.getVideoTracks() ?? []) };
    }
    this.#put("microphone", stream?.getAudioTracks()[0] ?? null);
    this.#put("camera", stream?.getVideoTracks()[0] ?? null);
    this.emit("change");
    this.emit("devices");
  }

  /** Another microphone or camera; "none" for none. */
  async choose(source, id) {
    this.chosen[source] = id;
    const audio = source === "microphone";
    const want = id === "none" ? null : audio ? { audio: this.#sound() } : { video: this.#picture() };
    this.#put(source, null);
    this.problem = "";
    const stream = want && await this.#ask(want);
    this.#put(source, (audio ? stream?.getAudioTracks() : stream?.getVideoTracks())?.[0] ?? null);
    this.emit("change", source);
  }

  /** Stops a camera: its light goes out. */
  stop(source) {
    this.#put(source, null);
    this.emit("change", source);
  }

  close() {
    this.#put("microphone", null);
    this.#put("camera", null);
  }

  /** {microphone: [{id, label}], camera: [...], speaker: [...]} */
  async devices() {
    const kinds = { audioinput: "microphone", videoinput: "camera", audiooutput: "speaker" };
    const found = { microphone: [], camera: [], speaker: [] };
    for (const device of await navigator.mediaDevices?.enumerateDevices?.() ?? []) {
      if (device.deviceId && kinds[device.kind]) found[kinds[device.kind]].push({ id: device.deviceId, label: device.label });
    }
    return found;
  }

  #sound() {
    const { microphone } = this.chosen;
    return microphone === "none" ? false : { ...SOUND, ...(microphone && { deviceId: { exact: microphone } }) };
  }

  #picture() {
    const { camera } = this.chosen;
    if (camera === "none") return false;
    if (!camera) return PICTURE;
    const { facingMode, ...rest } = PICTURE;
    return { ...rest, deviceId: { exact: camera } };
  }

  async #ask(want) {
    if (!want.audio && !want.video) return null;
    try {
      return await navigator.mediaDevices.getUserMedia(want);
    } catch (error) {
      this.problem = PROBLEMS[error.name] ?? "busy";
      return null;
    }
  }

  #put(source, track) {
    const old = this[source];
    if (old && old !== track) { old.onended = null; old.stop(); }
    this[source] = track;
    if (track) track.onended = () => { this[source] = null; this.emit("change", source); }; // unplugged, or the system took it back
  }
}

/** How loud a microphone is, 0 to 100, about ten times a second. */
export class Level {
  constructor(listener) {
    this.listener = listener;
  }

  #context = null;
  #source = null;
  #timer = 0;

  watch(track) {
    this.stop();
    if (!track || !window.AudioContext) return;
    this.#context ??= new AudioContext();
    const analyser = this.#context.createAnalyser();
    analyser.fftSize = 1024;
    this.#source = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#source.connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    this.#timer = setInterval(() => {
      if (this.#context.state === "suspended") { this.#context.resume(); return; }
      analyser.getFloatTimeDomainData(samples);
      let sum = 0;
      for (const s of samples) sum += s * s;
      const decibels = 20 * Math.log10(Math.sqrt(sum / samples.length) + 1e-5);
      this.listener(Math.max(0, Math.min(100, (decibels + 60) * 2)));
    }, 100);
  }

  stop() {
    clearInterval(this.#timer);
    this.#source?.disconnect();
    this.#source = null;
  }

  close() {
    this.stop();
    this.#context?.close();
    this.#context = null;
  }
}

/** Two short tones on the chosen speaker. */
export async function tone(speaker) {
  const context = new AudioContext();
  if (speaker && context.setSinkId) await context.setSinkId(speaker).catch(() => {});
  [523, 784].forEach((pitch, i) => {
    const sound = context.createOscillator(), loud = context.createGain(), at = context.currentTime + i * 0.3;
    sound.frequency.value = pitch;
    loud.gain.setValueAtTime(0, at);
    loud.gain.linearRampToValueAtTime(0.3, at + 0.03);
    loud.gain.linearRampToValueAtTime(0, at + 0.28);
    sound.connect(loud).connect(context.destination);
    sound.start(at);
    sound.stop(at + 0.3);
  });
  setTimeout(() => context.close(), 1500);
}
