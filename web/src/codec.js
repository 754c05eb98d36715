// Signals of any length through the two networks, in overlapping chunks: what examples/onnx_runtime.py does in NumPy.
//
// A piece of latents is { channels, dim, length, values }, values as in Python's [C, D, L]; sound is an array of
// Float32Array, one a channel.

import { keyedNoise } from "./noise.js";

/** Chunks of [length, overlap] latents that the page uses where it shall begin to sound soon. */
export const SHORT_CHUNKS = [16, 4];

export class Codec {
  /** `facts` as in facts.json; `encode(audio, channels)` and `decode(latents, noise, weights, channels)` run the networks. */
  constructor(facts, encode, decode) {
    const [rate, frame, edge, bins, columns, dim] = [
      "sample_rate", "frame_size", "edge", "bins", "columns_per_latent", "latent_dim",
    ].map((name) => Number(facts[name]));
    Object.assign(this, { facts, rate, frame, edge, bins, columns, dim, run: { encode, decode } });
    this.encoderChunk = facts.encoder_chunk.split(" ").map(Number);
    this.decoderChunk = facts.decoder_chunk.split(" ").map(Number);
  }

  /** Latents that cover so many samples. */
  latentsFor(numSamples) {
    return Math.ceil((numSamples + this.edge) / this.frame);
  }

  /** Sound -> { start, ...latents }, piece by piece, each as soon as no later chunk changes it. */
  async *encode(sound, [length, overlap] = this.encoderChunk) {
    const total = this.latentsFor(sound[0].length);
    const channels = sound.length;
    let kept = null; // the last latents of a chunk, which the next one is faded into
    for (const [start, stop, last] of spans(total, length, overlap)) {
      const count = stop - start;
      const audio = join(sound.map((channel) => this.padded(channel, start, stop)));
      const values = await this.run.encode(audio, channels);
      const weights = fade(count, overlap, start === 0, last);
      for (let i = 0; i < values.length; i++) values[i] *= weights[i % count];
      const chunk = { channels, dim: this.dim, length: count, values };
      if (kept) add(chunk, kept);
      kept = slice(chunk, count - overlap, count);
      yield { start, ...slice(chunk, 0, last ? count : count - overlap) };
    }
  }

  /** Samples of the latents [start, stop), with mirrored ones before the first and behind the last of the signal. */
  padded(channel, start, stop) {
    const period = 2 * channel.length;
    return Float32Array.from({ length: (stop - start) * this.frame + this.edge }, (_, i) => {
      const at = (((start * this.frame - this.edge + i) % period) + period) % period;
      return channel[at < channel.length ? at : period - 1 - at];
    });
  }

  /**
   * Latents -> { start, sound }, piece by piece. `ready(stop)` is waited for before latents up to `stop` are read, so
   * that they may still be on their way.
   */
  async *decode(latents, numSamples, seed, [length, overlap] = this.decoderChunk, ready = () => {}) {
    const { channels } = latents;
    let kept = null;
    for (const [start, stop, last] of spans(latents.length, length, overlap)) {
      await ready(stop);
      const count = stop - start;
      const noise = keyedNoise(seed, start, stop, this.bins, this.columns);
      const weights = fade(count * this.columns, overlap * this.columns, start === 0, last);
      const repeated = [noise, weights].map((one) => join(Array(channels).fill(one)));
      const audio = await this.run.decode(slice(latents, start, stop).values, ...repeated, channels);
      const width = count * this.frame + this.edge;
      const chunk = { channels, dim: 1, length: width, values: audio };
      if (kept) add(chunk, kept);
      const until = last ? width : (count - overlap) * this.frame;
      kept = slice(chunk, until, width);
      const begin = start ? 0 : this.edge; // the mirrored samples before the first
      const first = start * this.frame + begin - this.edge;
      const end = Math.min(until, begin + numSamples - first);
      const piece = slice(chunk, begin, Math.max(begin, end)).values.map((sample) => Math.min(Math.max(sample, -1), 1));
      yield { start: first, sound: split(piece, channels) };
    }
  }
}

/** [start, stop, whether it is the last] of every chunk; each shares `overlap` with the next. */
export function* spans(total, length, overlap) {
  for (let start = 0; ; start += length - overlap) {
    const last = start + length >= total;
    yield [start, last ? total : start + length, last];
    if (last) return;
  }
}

/** Weights of a chunk's values: ones, but for a rise and a fall in the middle quarter of what it shares with others. */
export function fade(count, overlap, first, last) {
  const weights = new Float32Array(count).fill(1);
  for (let i = 0; i < overlap; i++) {
    const rise = Math.min(Math.max(((i + 0.5) / overlap - 0.375) / 0.25, 0), 1);
    if (!first) weights[i] = rise;
    if (!last) weights[count - overlap + i] = 1 - rise;
  }
  return weights;
}

/** Empty latents. */
export function empty(channels, dim, length) {
  return { channels, dim, length, values: new Float32Array(channels * dim * length) };
}

/** The latents [start, stop). */
export function slice(latents, start, stop) {
  const part = empty(latents.channels, latents.dim, stop - start);
  for (let row = 0; row < part.channels * part.dim; row++) {
    part.values.set(latents.values.subarray(row * latents.length + start, row * latents.length + stop), row * part.length);
  }
  return part;
}

/** Put a part into latents, at a position. */
export function place(latents, part, start) {
  for (let row = 0; row < part.channels * part.dim; row++) {
    latents.values.set(part.values.subarray(row * part.length, (row + 1) * part.length), row * latents.length + start);
  }
}

/** Add a shorter part to the beginning. */
function add(latents, part) {
  for (let row = 0; row < part.channels * part.dim; row++) {
    for (let i = 0; i < part.length; i++) latents.values[row * latents.length + i] += part.values[row * part.length + i];
  }
}

function join(arrays) {
  const joined = new Float32Array(arrays.length * arrays[0].length);
  arrays.forEach((array, i) => joined.set(array, i * array.length));
  return joined;
}

function split(values, count) {
  const length = values.length / count;
  return Array.from({ length: count }, (_, i) => values.slice(i * length, (i + 1) * length));
}
