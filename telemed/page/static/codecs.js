// What the page asks of codecs: VP8 in simulcast layers, Opus that hides losses and is silent when nobody speaks, sound before pictures.

export const AUDIO_BPS = 32000;
export const LOW_AUDIO_BPS = 16000;

/** Encodings for addTransceiver, from low to high. A phone sends two layers: its chip and its uplink are spared the third. */
export function encodings(source, phone) {
  if (source === "microphone" || source === "screen-audio") return [{ maxBitrate: AUDIO_BPS, priority: "high", networkPriority: "high" }];
  if (source === "screen") {
    return [
      { rid: "q", scaleResolutionDownBy: 2, maxBitrate: 200000, maxFramerate: 5 },
      { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1200000, maxFramerate: 15 },
    ];
  }
  if (phone) {
    return [
      { rid: "q", scaleResolutionDownBy: 2, maxBitrate: 130000, maxFramerate: 20, priority: "low" },
      { rid: "h", scaleResolutionDownBy: 1, maxBitrate: 450000, priority: "low" },
    ];
  }
  return [
    { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 120000, maxFramerate: 20, priority: "low" },
    { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 420000, priority: "low" },
    { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1300000, priority: "low" },
  ];
}

/** Puts VP8 first: every browser sends it in simulcast, every phone decodes it. The others stay, for what devices publish. */
export function preferVp8(transceiver, side = RTCRtpSender) {
  const all = side.getCapabilities?.("video")?.codecs;
  if (!all || !transceiver.setCodecPreferences) return;
  const first = all.filter((c) => c.mimeType.toLowerCase() === "video/vp8");
  const rest = all.filter((c) => c.mimeType.toLowerCase() !== "video/vp8");
  transceiver.setCodecPreferences([...first, ...rest]);
}

/** Offers the dependency descriptor of AV1, which Chromium takes only when it is asked to: without it layers of one stream are not put together. */
export function describeLayers(transceiver) {
  const all = transceiver.getHeaderExtensionsToNegotiate?.();
  if (!all) return;
  for (const extension of all) if (extension.uri.endsWith("#dependency-descriptor-rtp-header-extension")) extension.direction = "sendrecv";
  transceiver.setHeaderExtensionsToNegotiate(all);
}

/** An SDP in which every Opus says `useinbandfec=1;usedtx=1` (RFC 7587 7.1) and, with `nack`, that lost sound may be sent again (RFC 4585). */
export function adorn(sdp, { nack = false } = {}) {
  const opus = new Set([...sdp.matchAll(/^a=rtpmap:(\d+) opus\/48000/gim)].map((m) => m[1]));
  if (!opus.size) return sdp;
  const parts = sdp.split(/^(?=m=)/m);
  return parts.map((part) => (part.startsWith("m=audio") ? adornPart(part, opus, nack) : part)).join("");
}

function adornPart(part, opus, nack) {
  const lines = part.split("\r\n");
  const out = [];
  for (const line of lines) {
    const fmtp = line.match(/^a=fmtp:(\d+) (.*)$/);
    if (fmtp && opus.has(fmtp[1])) {
      const values = fmtp[2].split(";").filter((v) => !/^\s*(useinbandfec|usedtx)=/.test(v));
      out.push(`a=fmtp:${fmtp[1]} ${[...values, "useinbandfec=1", "usedtx=1"].join(";")}`);
      continue;
    }
    out.push(line);
    const map = line.match(/^a=rtpmap:(\d+) opus\//i);
    if (!map || !opus.has(map[1])) continue;
    if (!part.includes(`a=fmtp:${map[1]} `)) out.push(`a=fmtp:${map[1]} useinbandfec=1;usedtx=1`);
    if (nack && !new RegExp(`a=rtcp-fb:${map[1]} nack\\r\\n`).test(part)) out.push(`a=rtcp-fb:${map[1]} nack`);
  }
  return out.join("\r\n");
}
