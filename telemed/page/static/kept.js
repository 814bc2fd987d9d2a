// Messages kept on this device until they are sent (IndexedDB): what they are, and their pieces in the order recorded.

const NAME = "hh-messages";

function done(request) {
  return new Promise((resolve, reject) => { request.onsuccess = () => resolve(request.result); request.onerror = () => reject(request.error); });
}

let opened = null;
function database() {
  if (opened) return opened;
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore("messages", { keyPath: "id" });
    request.result.createObjectStore("pieces", { keyPath: ["id", "n"] });
  };
  opened = done(request);
  return opened;
}

const store = async (name, mode) => (await database()).transaction(name, mode).objectStore(name);
const pieces = (id) => IDBKeyRange.bound([id, 0], [id, Infinity]);

export async function put(message) { await done((await store("messages", "readwrite")).put(message)); }
export async function all() { return done((await store("messages", "readonly")).getAll()); }
export async function addPiece(id, n, blob) { await done((await store("pieces", "readwrite")).put({ id, n, blob })); }

/** The whole recording. */
export async function content(id, type) {
  const found = await done((await store("pieces", "readonly")).getAll(pieces(id)));
  return new Blob(found.map((p) => p.blob), { type });
}

export async function remove(id) {
  await done((await store("messages", "readwrite")).delete(id));
  await done((await store("pieces", "readwrite")).delete(pieces(id)));
}
