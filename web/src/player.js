// Plays sound that may still be in the making.

export const LEAD = 0.03; // seconds from now to the first sample

/** Sound whose first `ready` samples are there. */
export class Track {
  constructor(sound, rate, ready = sound[0].length) {
    Object.assign(this, { sound, rate, ready, begun: performance.now() });
  }

  get total() {
    return this.sound[0].length;
  }

  put(start, piece) {
    piece.forEach((channel, i) => this.sound[i].set(channel, start));
    this.ready = start + piece[0].length;
  }

  /** Whether from here on it can be played without another pause, at the pace at which it was made so far. */
  keepsUp(position) {
    const pace = (performance.now() - this.begun) / 1000 / this.ready; // seconds a sample
    const ahead = (this.ready - position) / this.rate;
    return this.ready === this.total || ahead > (this.total - this.ready) * (pace - 1 / this.rate) + 1;
  }
}

export class Player {
  /** `changed()` is called when another track, or none, begins to play. */
  constructor(rate, changed) {
    Object.assign(this, { rate, changed, track: null });
  }

  /** Called from a click: browsers are silent until one. */
  wake() {
    this.context ??= new AudioContext({ sampleRate: this.rate });
    this.context.resume();
  }

  play(track) {
    this.stop();
    this.wake();
    Object.assign(this, { track, next: 0, until: 0, sources: [], started: [] });
    this.feed();
    this.changed();
  }

  stop() {
    if (!this.track) return;
    this.track = null;
    this.sources.forEach((source) => source.stop());
    this.changed();
  }

  /** Schedule what has been made since; true when this is the beginning of the sound. */
  feed() {
    const { track, context, next } = this;
    if (!track || track.ready === next) return false;
    const now = context.currentTime, idle = this.until <= now;
    if (idle && next && !track.keepsUp(next)) return false;
    const at = idle ? now + LEAD : this.until;
    const buffer = context.createBuffer(track.sound.length, track.ready - next, track.rate);
    track.sound.forEach((channel, i) => buffer.copyToChannel(channel.subarray(next, track.ready), i));
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(context.destination);
    source.onended = () => this.track === track && this.next === track.total && this.until <= context.currentTime + LEAD && this.stop();
    source.start(at);
    this.sources.push(source);
    this.started.push({ at, position: next });
    this.until = at + buffer.duration;
    this.next = track.ready;
    return next === 0;
  }

  /** Whether the browser waits for a click. */
  get silent() {
    return this.context.state !== "running";
  }

  /** The second of the track that sounds now. */
  get seconds() {
    const now = this.context.currentTime;
    const last = this.started.findLast(({ at }) => at <= now);
    return last ? Math.min(last.position / this.rate + now - last.at, this.next / this.rate) : 0;
  }
}
