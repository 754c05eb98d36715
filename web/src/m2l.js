// .m2l files, as music2latent/m2l.py describes them: safetensors with one tensor, and facts in the metadata.

import { empty } from "./codec.js";
import { Refusal } from "./errors.js";

const FORMAT = "music2latent.latents";
const MOST_HEADER = 2 ** 20;

/** The bytes of a file, of float32 values. */
export function write({ latents, numSamples }, codec) {
  const { model_id, fingerprint } = codec.facts;
  const facts = {
    format: FORMAT, version: 1, sample_rate: codec.rate, num_samples: numSamples, coding_rate: codec.rate,
    model_id, fingerprint, frame_size: codec.frame, edge: codec.edge,
  };
  const metadata = Object.fromEntries(Object.entries(facts).map(([name, fact]) => [name, JSON.stringify(fact)]));
  const shape = [latents.channels, latents.dim, latents.length];
  const tensor = { dtype: "F32", shape, data_offsets: [0, 4 * latents.values.length] };
  let header = new TextEncoder().encode(JSON.stringify({ __metadata__: metadata, latents: tensor }));
  const padding = (8 - (header.length % 8)) % 8; // so that values lie at a multiple of 8
  const file = new Uint8Array(8 + header.length + padding + 4 * latents.values.length).fill(32);
  new DataView(file.buffer).setBigUint64(0, BigInt(header.length + padding), true);
  file.set(header, 8);
  const view = new DataView(file.buffer, 8 + header.length + padding);
  latents.values.forEach((value, i) => view.setFloat32(4 * i, value, true));
  return file;
}

/** Latents and the number of samples of a file, of the codec's model or of one whose latents it decodes as well. */
export function read(buffer, codec) {
  const { facts, tensor, data } = parse(buffer);
  if (facts.format !== FORMAT) throw new Refusal("This is a safetensors file, but not of latents.", "Open an .m2l file.");
  if (facts.version !== 1) {
    throw new Refusal(`This .m2l file has format version ${facts.version}; this page reads version 1.`, "Open it with a newer release.");
  }
  const { fingerprint, latents_of: others = "" } = codec.facts;
  if (![fingerprint, ...others.split(" ")].includes(facts.fingerprint)) {
    throw new Refusal(
      `These latents are of another model (${facts.model_id}); this page has ${codec.facts.model_id}.`,
      "Decode them with the model that encoded them: music2latent decode FILE.",
    );
  }
  const [channels, dim, length] = tensor.shape;
  const coded = Math.ceil((facts.num_samples * codec.rate) / facts.sample_rate); // at the model's rate
  const fits = coded >= 1 && Math.abs(length - codec.latentsFor(coded)) <= 1 && length * codec.frame >= coded;
  const same = facts.coding_rate === codec.rate && facts.frame_size === codec.frame && facts.edge === codec.edge;
  if (!same || !fits || dim !== codec.dim) {
    throw new Refusal("These latents were coded at another rate or shape.", "Decode them with music2latent decode FILE.");
  }
  const latents = empty(channels, dim, length);
  const float = tensor.dtype === "F32" ? (i) => data.getFloat32(4 * i, true) : (i) => half(data.getUint16(2 * i, true));
  for (let i = 0; i < latents.values.length; i++) latents.values[i] = float(i);
  if (!latents.values.every(Number.isFinite)) throw unusable();
  return { latents, numSamples: coded };
}

function parse(buffer) {
  try {
    const length = Number(new DataView(buffer).getBigUint64(0, true));
    if (length > Math.min(buffer.byteLength - 8, MOST_HEADER)) throw unusable();
    const header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array(buffer, 8, length)));
    const facts = { frame_size: 4096, edge: 1536 };
    for (const [name, fact] of Object.entries(header.__metadata__)) facts[name] = JSON.parse(fact);
    const tensor = header.latents, item = { F16: 2, F32: 4 }[tensor.dtype];
    const size = tensor.shape.reduce((product, n) => product * (Number.isInteger(n) && n > 0 ? n : NaN), item);
    if (tensor.shape.length !== 3 || size !== buffer.byteLength - 8 - length) throw unusable();
    return { facts, tensor, data: new DataView(buffer, 8 + length) };
  } catch {
    throw unusable();
  }
}

const unusable = () => new Refusal("This file is truncated, or no .m2l file.", "Make it again, or open another one.");

// Half precision: one bit sign, five exponent, ten fraction.
function half(bits) {
  const exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const size = exponent === 31 ? (fraction ? NaN : Infinity)
    : exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction;
  return bits & 0x8000 ? -size : size;
}
