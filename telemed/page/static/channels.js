// Data to everybody in the room: over the peer's data channels, and small JSON over signalling while there are none.

import { Emitter } from "./events.js";

const FULL = 256 * 1024; // bytes waiting in a channel before we stop feeding it: chat and vital signs must not queue behind a picture

/** Emits a label with (sender's participant id, string or ArrayBuffer); "channel closed", which is no label, with (label, sender). */
export class Channels extends Emitter {
  constructor(signalling) {
    super();
    this.signalling = signalling;
    this.open = new Map();
    signalling.on("data", ({ label, from, data }) => this.emit(label, from, JSON.stringify(data)));
  }

  /** Takes over a new peer's channels. */
  use(peer) {
    this.open.clear();
    for (const channel of peer.own) {
      channel.binaryType = "arraybuffer";
      channel.bufferedAmountLowThreshold = FULL / 4;
      this.open.set(channel.label, channel);
    }
    peer.on("channel", (channel) => {
      channel.binaryType = "arraybuffer";
      channel.onmessage = ({ data }) => this.emit(channel.label, channel.protocol, data);
      channel.onclose = () => this.emit("channel closed", channel.label, channel.protocol);
    });
  }

  ready(label) {
    return this.open.get(label)?.readyState === "open";
  }

  /** Sends a value as JSON, whichever way there is. */
  async json(label, value) {
    if (this.ready(label)) this.open.get(label).send(JSON.stringify(value));
    else await this.signalling.request({ type: "data", label, data: value });
  }

  /** Sends one frame over the data channel, waiting while it is full. Rejects when there is none or it closes. */
  async send(label, frame) {
    const channel = this.open.get(label);
    if (channel?.readyState !== "open") throw new Error("no channel");
    if (channel.bufferedAmount > FULL) {
      await new Promise((done, fail) => {
        const listen = (name, f) => channel.addEventListener(name, f, { once: true });
        listen("bufferedamountlow", done);
        listen("close", () => fail(new Error("closed")));
      });
    }
    channel.send(frame);
  }
}
