// Passkeys: forms marked data-passkey ask the browser for one and send its answer; without this script they stay hidden.

const decode = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const encode = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const named = (list) => (list ?? []).map((c) => ({ ...c, id: decode(c.id) }));

// The JSON forms of WebAuthn level 3, for browsers that do not have them yet.
function options(kind, json) {
  const made = { ...json, challenge: decode(json.challenge) };
  if (kind === "create") {
    made.user = { ...json.user, id: decode(json.user.id) };
    made.excludeCredentials = named(json.excludeCredentials);
  } else {
    made.allowCredentials = named(json.allowCredentials);
  }
  return made;
}

function answer(credential) {
  const { response } = credential;
  const parts = { clientDataJSON: encode(response.clientDataJSON) };
  for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (response[name]) parts[name] = encode(response[name]);
  }
  if (response.getTransports) parts.transports = response.getTransports();
  return JSON.stringify({
    id: credential.id,
    rawId: encode(credential.rawId),
    type: credential.type,
    authenticatorAttachment: credential.authenticatorAttachment ?? undefined,
    clientExtensionResults: credential.getClientExtensionResults(),
    response: parts,
  });
}

const opened = performance.now();
let waiting = null;

async function ask(form, mediation) {
  const kind = form.dataset.passkey;
  const json = JSON.parse(form.dataset.options);
  waiting?.abort();
  waiting = new AbortController();
  const request = { publicKey: options(kind, json), signal: waiting.signal };
  if (mediation) request.mediation = mediation;
  const credential = await navigator.credentials[kind](request);
  if (!credential) return;
  form.elements.namedItem("answer").value = answer(credential);
  form.submit();
}

if (window.PublicKeyCredential) {
  for (const part of document.querySelectorAll("[data-passkey-part]")) part.hidden = false;
  for (const note of document.querySelectorAll("[data-no-passkey]")) note.hidden = true;
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.hidden = false;
    const failed = form.querySelector("[role=alert]");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      failed.hidden = true;
      // The challenge in the page is good for five minutes.
      if (performance.now() - opened > 280_000) return location.reload();
      try {
        await ask(form);
      } catch (error) {
        failed.hidden = error.name === "AbortError";
      }
    });
    if (form.dataset.mediation && (await PublicKeyCredential.isConditionalMediationAvailable?.())) {
      ask(form, form.dataset.mediation).catch(() => {});
    }
  }
}
