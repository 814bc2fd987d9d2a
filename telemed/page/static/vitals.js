// The strip of vital signs: entered by the nurse of the station or sent by a device, shown to everyone.

import { $, el, say } from "./dom.js";
import { clock, number, onLanguage, t } from "./texts.js";

// Possible values; usual ones of adults at rest, beyond which a value is marked.
const FIELDS = {
  pulse: { possible: [20, 300], usual: [50, 110], digits: 0 },
  spo2: { possible: [30, 100], usual: [94, 100], digits: 0 },
  systolic: { possible: [40, 300], usual: [91, 139], digits: 0 },
  diastolic: { possible: [20, 200], usual: [51, 89], digits: 0 },
  temperature: { possible: [25, 45], usual: [35.5, 37.9], digits: 1 },
};
const within = (value, [low, high]) => Number.isFinite(value) && value >= low && value <= high;

/** The readable values of a message; null when there are none. */
export function read(message) {
  const found = {};
  for (const [name, { possible }] of Object.entries(FIELDS)) {
    if (typeof message?.[name] === "number" && within(message[name], possible)) found[name] = message[name];
  }
  return Object.keys(found).length ? found : null;
}

export class Vitals {
  /** `who(participant id)`: the name of a participant. */
  constructor(channels, who) {
    this.channels = channels;
    this.who = who;
    this.values = {};
    this.from = null; // {who, time}
    this.sent = null; // what was entered here, for those who come later
    channels.on("vitals", (from, data) => {
      let message;
      try { message = JSON.parse(data); } catch { return; }
      const found = read(message);
      if (found) this.#take(found, typeof message.source === "string" && message.source ? message.source.slice(0, 60) : who(from), message.time);
    });
    $("vitals-open").onclick = () => { $("vitals-error").hidden = true; $("vitals-dialog").showModal(); };
    $("vitals-form").onsubmit = (event) => { event.preventDefault(); this.#enter(event.target); };
    onLanguage(() => this.paint());
  }

  /** Who may enter values has the button, and the strip from the start. */
  role({ role, rights }) {
    this.may = rights.includes("chat") && ["nurse", "doctor", "specialist", "device"].includes(role);
    $("vitals-open").hidden = !this.may;
    this.paint();
  }

  /** Somebody came in who has not seen them. */
  again() {
    if (this.sent) this.channels.json("vitals", this.sent).catch(() => {});
  }

  clear() {
    this.values = {};
    this.from = this.sent = null;
    this.paint();
  }

  #take(found, who, time) {
    const at = Date.parse(time);
    Object.assign(this.values, found);
    this.from = { who, time: Number.isFinite(at) && at <= Date.now() + 60000 ? at : Date.now() };
    this.paint();
    say(`${t("vitals.title")}: ${this.#parts().map((p) => `${p.label} ${p.text}`).join(", ")}`);
  }

  #enter(form) {
    const found = {}, wrong = [];
    for (const [name, { possible }] of Object.entries(FIELDS)) {
      const input = form.elements[name], text = input.value.trim().replace(",", ".");
      const bad = text !== "" && !within(Number(text), possible);
      input.setAttribute("aria-invalid", bad);
      if (bad) wrong.push(form.querySelector(`label[for="${input.id}"]`).textContent);
      else if (text !== "") found[name] = Number(text);
    }
    let problem = "";
    if (wrong.length) problem = t("vitals.invalid", { fields: wrong.join(", ") });
    else if (!Object.keys(found).length) problem = t("vitals.empty");
    else if (("systolic" in found) !== ("diastolic" in found)) problem = t("vitals.pair");
    $("vitals-error").textContent = problem;
    $("vitals-error").hidden = !problem;
    if (problem) { form.querySelector("[aria-invalid=true]")?.focus(); return; }
    this.sent = { ...this.sent, ...found, time: new Date().toISOString() };
    this.channels.json("vitals", this.sent).catch(() => {});
    this.#take(found, this.who(null), this.sent.time);
    $("vitals-dialog").close();
    form.reset();
  }

  #parts() {
    const v = this.values, parts = [];
    const odd = (...names) => names.some((name) => !within(v[name], FIELDS[name].usual));
    if (v.pulse !== undefined) parts.push({ label: t("vitals.pulse"), text: number(v.pulse), unit: t("vitals.per-minute"), odd: odd("pulse") });
    if (v.spo2 !== undefined) parts.push({ label: t("vitals.spo2"), text: number(v.spo2), unit: "%", odd: odd("spo2") });
    if (v.systolic !== undefined && v.diastolic !== undefined) {
      parts.push({ label: t("vitals.pressure"), text: `${number(v.systolic)}/${number(v.diastolic)}`, unit: "mmHg", odd: odd("systolic", "diastolic") });
    }
    if (v.temperature !== undefined) parts.push({ label: t("vitals.temperature"), text: number(v.temperature, 1), unit: "°C", odd: odd("temperature") });
    return parts;
  }

  paint() {
    const parts = this.#parts();
    $("vitals").hidden = !parts.length && !this.may;
    $("vitals-values").replaceChildren(...parts.map(({ label, text, unit, odd }) => {
      const row = el("div", {}, el("dt", {}, label), el("dd", {}, text, " ", el("small", {}, unit), odd ? el("span", { class: "hidden-text" }, ` ${t("vitals.odd")}`) : null));
      row.dataset.odd = odd;
      return row;
    }));
    $("vitals-from").textContent = this.from ? t("vitals.from", { who: this.from.who, time: clock(this.from.time) }) : parts.length ? "" : t("vitals.none");
  }
}
