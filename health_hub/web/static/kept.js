// Plays what is kept of a consultation: the tracks of a recording together, on one clock; says why where one is refused.

const LATE = 0.25; // seconds that a track may be off the others before it is set right
const STEP_MS = 100;
const READY = 3; // HTMLMediaElement.HAVE_FUTURE_DATA

/** A refusal comes as JSON where media was asked for: the element tells nothing of it, so it is asked for again, one byte of it. */
async function why(media) {
  try {
    const answer = await fetch(media.src, { headers: { Range: "bytes=0-0" }, cache: "no-store", credentials: "same-origin" });
    if (answer.ok) return "";
    const said = await answer.json();
    const [first, second] = document.documentElement.lang === "en" ? [said.en, said.vi] : [said.vi, said.en];
    return `${first} (${second})`;
  } catch {
    return "";
  }
}

function failures(place) {
  const line = place.querySelector("[data-failed]");
  for (const media of place.querySelectorAll("video, audio")) {
    media.addEventListener("error", async () => {
      const reason = await why(media);
      line.textContent = `${line.dataset.failed} ${reason}`.trim();
      line.hidden = false;
    });
  }
}

function clock(seconds) {
  const whole = Math.floor(seconds), two = (n) => String(n).padStart(2, "0");
  const minutes = Math.floor(whole / 60) % 60;
  return whole >= 3600 ? `${Math.floor(whole / 3600)}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

class Player {
  constructor(place) {
    this.length = Number(place.dataset.seconds);
    this.tracks = [...place.querySelectorAll("video, audio")].map((media) => {
      media.controls = false;
      if (media.localName === "audio") media.hidden = true;
      const from = Number(media.dataset.from);
      return { media, from, to: from + Number(media.dataset.seconds), failed: false, placed: false };
    });
    for (const track of this.tracks) track.media.addEventListener("error", () => { track.failed = true; });
    this.button = place.querySelector("[data-play]");
    this.slider = place.querySelector("input[type=range]");
    this.time = place.querySelector("output");
    this.waiting = place.querySelector("[data-waiting]");
    this.words = [this.button.textContent, this.button.dataset.pause];
    this.at = 0;
    this.playing = false;
    this.last = 0;
    this.button.onclick = () => this.set(!this.playing);
    this.slider.oninput = () => this.seek(Number(this.slider.value));
    place.querySelector(".transport").hidden = !this.tracks.length;
    this.paint();
    setInterval(() => this.step(), STEP_MS);
  }

  set(playing) {
    if (playing && this.at >= this.length) this.seek(0);
    this.playing = playing;
    this.last = performance.now();
    this.step();
    this.paint();
  }

  seek(at) {
    this.at = Math.min(Math.max(at, 0), this.length);
    for (const track of this.tracks) track.placed = false;
    for (const track of this.due()) this.place(track);
    this.paint();
  }

  due() {
    return this.tracks.filter((t) => !t.failed && this.at >= t.from && this.at < t.to);
  }

  place(track) {
    if (track.media.readyState === 0) return;
    track.media.currentTime = this.at - track.from;
    track.placed = true;
  }

  /** Sound leads, else a picture; the others are set right by it. All stand still while one has nothing yet. */
  step() {
    const now = performance.now(), passed = (now - this.last) / 1000;
    this.last = now;
    if (!this.playing) {
      for (const { media } of this.tracks) if (!media.paused) media.pause();
      this.waiting.hidden = true;
      return;
    }
    const due = this.due().filter(({ media, placed }) => !(media.ended && placed));
    for (const track of this.tracks) {
      if (due.includes(track)) continue;
      track.placed = false;
      if (!track.media.paused) track.media.pause();
    }
    for (const track of due) {
      if (track.media.preload !== "auto") { track.media.preload = "auto"; track.media.load(); }
      if (!track.placed) this.place(track);
    }
    const late = due.some(({ media, placed }) => !placed || media.seeking || media.readyState < READY);
    this.waiting.hidden = !late;
    for (const { media } of due) {
      if (late && !media.paused) media.pause();
      if (!late && media.paused) media.play().catch((error) => { if (error.name === "NotAllowedError") this.set(false); });
    }
    if (!late) {
      const lead = due.find(({ media }) => media.localName === "audio") ?? due[0];
      this.at = lead ? Math.max(lead.from + lead.media.currentTime, lead.from) : this.at + passed;
      for (const track of due) {
        if (track !== lead && Math.abs(track.from + track.media.currentTime - this.at) > LATE) this.place(track);
      }
    }
    if (this.at >= this.length - 0.05 || (!this.due().length && !this.tracks.some((t) => !t.failed && t.from > this.at))) {
      this.at = this.length;
      this.set(false);
    }
    this.paint();
  }

  paint() {
    this.slider.value = String(this.at);
    this.slider.setAttribute("aria-valuetext", clock(this.at));
    this.time.textContent = `${clock(this.at)} / ${this.time.dataset.length}`;
    for (const { media, from, to } of this.tracks) {
      if (media.localName === "video") media.classList.toggle("away", this.at < from || this.at >= to);
    }
    const word = this.words[this.playing ? 1 : 0];
    if (this.button.textContent !== word) this.button.textContent = word;
  }
}

for (const place of document.querySelectorAll("[data-media]")) failures(place);
for (const place of document.querySelectorAll("[data-player]")) place.player = new Player(place);
