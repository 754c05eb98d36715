// What can be done to latents, as pure functions.

import { empty } from "./codec.js";
import { standardNormal } from "./noise.js";

/**
 * Edited latents and the number of samples they decode to. `stretch` makes the sound so many times as long, by linear
 * interpolation between latents; `swap` puts the second half first; `noise` is the deviation of what is added.
 */
export function edit({ latents, numSamples }, { scale, noise, stretch, swap }, { frame, edge }, seed) {
  const samples = Math.max(1, Math.round(numSamples * stretch));
  const length = stretch === 1 ? latents.length : Math.ceil((samples + edge) / frame);
  const { channels, dim } = latents;
  const edited = empty(channels, dim, length);
  const added = noise ? standardNormal([seed, 1], edited.values.length) : null;
  const half = swap ? Math.floor(length / 2) : 0;
  for (let i = 0; i < length; i++) {
    // Latent i sounds at frame (i + 1/2) - edge / 2 samples.
    const time = (frame * (((i + half) % length) + 0.5) - edge / 2) / stretch;
    const at = Math.min(Math.max((time + edge / 2) / frame - 0.5, 0), latents.length - 1);
    const before = Math.floor(at), after = Math.min(before + 1, latents.length - 1), part = at - before;
    for (let row = 0; row < channels * dim; row++) {
      const from = row * latents.length, to = row * length + i;
      const value = latents.values[from + before] * (1 - part) + latents.values[from + after] * part;
      edited.values[to] = scale * value + (added ? noise * added[to] : 0);
    }
  }
  return { latents: edited, numSamples: samples };
}
