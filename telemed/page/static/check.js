// The device check before one enters: own picture, level of the microphone, choosing devices, trying the speaker.

import { $, el } from "./dom.js";
import { Level, tone } from "./media.js";
import { onLanguage, t } from "./texts.js";

const HEARD = 12; // of 100
const SILENT_MS = 6000;

export class Check {
  /** `enter({audioOnly})`: what the button does; `speaker(id)`: another speaker was chosen. */
  constructor(media, { enter, speaker }) {
    this.media = media;
    this.word = "check.say";
    this.level = new Level((value) => this.#loud(value));
    $("enter").onclick = () => enter({ audioOnly: $("audio-only").checked });
    $("audio-only").onchange = () => this.open();
    $("check-tone").onclick = () => tone(this.speaker);
    for (const [ids, source] of [[["pick-mic", "call-mic"], "microphone"], [["pick-camera", "call-camera"], "camera"]]) {
      for (const id of ids) $(id).onchange = ({ target }) => this.#choose(source, target.value);
    }
    $("pick-speaker").onchange = ({ target }) => { this.speaker = target.value; speaker(target.value); };
    media.on("change", () => this.paint());
    media.on("devices", () => this.devices());
    onLanguage(() => { this.paint(); this.devices(); });
  }

  #since = 0;
  #open = false;

  async open() {
    this.#open = true;
    await this.media.open({ audioOnly: $("audio-only").checked });
  }

  /** In the call neither the meter nor the preview is seen. */
  close() {
    this.#open = false;
    this.level.close();
    $("preview").srcObject = null;
  }

  reopen() {
    this.open();
  }

  async #choose(source, id) {
    await this.media.choose(source, id);
    this.devices();
  }

  paint() {
    if (!this.#open) return;
    const { microphone, camera, problem } = this.media;
    if ($("preview").srcObject?.getVideoTracks()[0] !== (camera ?? undefined)) $("preview").srcObject = camera ? new MediaStream([camera]) : null;
    $("preview-none").hidden = Boolean(camera);
    $("check-problem").hidden = !problem;
    $("check-problem").textContent = problem ? t(`check.${problem}`) : "";
    if (this.watched !== microphone) {
      this.watched = microphone;
      this.word = "check.say";
      this.#since = performance.now();
      this.level.watch(microphone);
    }
    if (!microphone) $("level").value = 0;
    $("level-word").textContent = t(this.word);
  }

  #loud(value) {
    $("level").value = value;
    let word = this.word;
    if (value > HEARD) word = "check.heard";
    else if (word === "check.say" && performance.now() - this.#since > SILENT_MS) word = "check.silent";
    if (word === this.word) return;
    this.word = word;
    $("level-word").textContent = t(word);
  }

  async devices() {
    const found = await this.media.devices();
    for (const [ids, source] of [[["pick-mic", "call-mic"], "microphone"], [["pick-camera", "call-camera"], "camera"], [["pick-speaker"], "speaker"]]) {
      const now = this.media[source]?.getSettings().deviceId ?? (this.media.chosen[source] || "none");
      for (const id of ids) {
        const options = found[source].map((d, i) => el("option", { value: d.id }, d.label || t("check.number", { n: i + 1 })));
        if (source !== "speaker") options.push(el("option", { value: "none" }, t("check.none")));
        $(id).replaceChildren(...options);
        $(id).value = source === "speaker" ? this.speaker ?? found.speaker[0]?.id ?? "" : now;
        if ($(id).selectedIndex < 0) $(id).selectedIndex = $(id).options.length - 1;
      }
    }
    $("pick-speaker-field").hidden = !found.speaker.length || !("setSinkId" in HTMLMediaElement.prototype);
  }
}
