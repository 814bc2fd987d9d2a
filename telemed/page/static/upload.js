// Sends a recorded message in resumable pieces (tus 1.0): POST makes it, HEAD says how much has come, PATCH brings the next piece.

import { authorization as bearing } from "./entry.js";

const SMALLEST = 16 * 1024;
const LARGEST = 1024 * 1024;
const FAST_MS = 1500;
const PIECE_MS = 60000;

class Refused extends Error {}

/** One attempt to bring a message over. `save(change)` keeps what must survive a closed page; rejects when the link or the server fails (`refused: true`: for good). */
export async function upload(message, blob, { url, bearer, save, progress }) {
  const authorization = { ...bearing(bearer), "Tus-Resumable": "1.0.0" };
  let { location: address } = message, offset = null;
  const arrived = async () => {
    const answer = await ask(address, { method: "HEAD", headers: authorization });
    if (!answer.ok) fail(answer.status);
    return Number(answer.headers.get("Upload-Offset"));
  };
  if (address) {
    try {
      offset = await arrived();
    } catch (error) {
      if (error.status !== 404 && error.status !== 410) throw error;
      address = null;
    }
  }
  if (!address) {
    const answer = await ask(url, {
      method: "POST", headers: { ...authorization, "Upload-Length": String(blob.size), "Upload-Metadata": metadata({ filetype: message.type, room: message.room, created: message.created, ...(message.seconds ? { seconds: message.seconds.toFixed(1) } : {}) }) },
    });
    if (!answer.ok) fail(answer.status);
    address = new URL(answer.headers.get("Location"), new URL(url, location.href)).href;
    offset = 0;
    await save({ location: address });
  }
  let piece = 4 * SMALLEST;
  while (offset < blob.size) {
    const begun = performance.now();
    let answer;
    try {
      answer = await ask(address, {
        method: "PATCH", headers: { ...authorization, "Content-Type": "application/offset+octet-stream", "Upload-Offset": String(offset) }, body: blob.slice(offset, offset + piece),
      });
    } catch (error) {
      if (piece <= SMALLEST) throw error;
      piece = Math.max(SMALLEST, piece / 4); // perhaps a smaller one gets through
      offset = await arrived();
      continue;
    }
    if (answer.status === 409) { // the last answer was lost: the server has more than we know
      const now = await arrived();
      if (now === offset) throw new Error("409");
      offset = now;
      continue;
    }
    if (!answer.ok) fail(answer.status);
    offset = Number(answer.headers.get("Upload-Offset") ?? offset + piece);
    progress(offset / blob.size);
    if (performance.now() - begun < FAST_MS) piece = Math.min(LARGEST, piece * 2);
  }
}

/** As tus has it: names with their values in base64. */
function metadata(values) {
  const encode = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
  return Object.entries(values).filter(([, value]) => value).map(([name, value]) => `${name} ${encode(value)}`).join(",");
}

function fail(status) {
  const error = new Refused(String(status));
  error.status = status;
  error.refused = status >= 400 && status < 500 && ![408, 423, 425, 429].includes(status);
  throw error;
}

function ask(url, options) {
  return fetch(url, { ...options, credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(PIECE_MS) });
}
