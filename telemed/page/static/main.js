// Starts the page: language, the way in, the device check.

import { $ } from "./dom.js";
import { Entry, back } from "./entry.js";
import { Room } from "./room.js";
import { LANGUAGES, choose, lang, onLanguage } from "./texts.js";

function switches() {
  for (const button of document.querySelectorAll("[data-lang]")) button.setAttribute("aria-pressed", button.dataset.lang === lang());
}

for (const button of document.querySelectorAll("[data-lang]")) button.onclick = () => choose(button.dataset.lang);
onLanguage(switches);
choose(LANGUAGES.includes(lang()) ? lang() : "vi");

const entry = new Entry();
const room = new Room(entry);
room.paint();
$("back").href = back || "/";
window.healthHubRoom = { state: () => room.state(), stats: () => room.stats(), room };

if (!entry.known) room.signalling.emit("over", "token");
else if (entry.resume) {
  // Loaded again in the middle of a consultation: straight back in.
  room.check.open().then(() => room.enter());
} else room.check.open();
