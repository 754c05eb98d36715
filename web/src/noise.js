// The decoder's noise, as music2latent/noise.py draws it: every latent's from a stream of its own, which is NumPy's
// default_rng((seed, 0, position)).standard_normal(dtype=float32), equal but for the last bit of a few in a million.

/** Noise `[2, bins, columns (stop - start)]` of the latents [start, stop). */
export function keyedNoise(seed, start, stop, bins, columns) {
  const width = columns * (stop - start);
  const noise = new Float32Array(2 * bins * width);
  for (let position = start; position < stop; position++) {
    const block = standardNormal([seed, 0, position], 2 * bins * columns);
    for (let row = 0; row < 2 * bins; row++) {
      noise.set(block.subarray(row * columns, (row + 1) * columns), row * width + (position - start) * columns);
    }
  }
  return noise;
}

/** `count` standard normal numbers of the stream with this key, a list of whole numbers. */
export function standardNormal(key, count) {
  const next = pcg64(key);
  return Float32Array.from({ length: count }, () => normal(next));
}

// NumPy's SeedSequence: the key, in words of 32 bits, is mixed into four of them, from which `count` are drawn.
function seedWords(key, count) {
  const mixed = hasher(0x43b0d7e5, 0x931e8875);
  const mix = (x, y) => folded(Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y));
  const input = key.flatMap(words);
  const pool = [0, 1, 2, 3].map((i) => mixed(input[i] ?? 0));
  for (let source = 0; source < Math.max(4, input.length); source++) {
    for (let target = 0; target < 4; target++) {
      if (source !== target) pool[target] = mix(pool[target], mixed(source < 4 ? pool[source] : input[source]));
    }
  }
  const drawn = hasher(0x8b51f9dd, 0x58f38ded);
  return BigUint64Array.from({ length: count }, (_, i) => BigInt(drawn(pool[i % 4]) >>> 0));
}

const folded = (value) => value ^ (value >>> 16);

function hasher(constant, multiplier) {
  return (value) => {
    value ^= constant;
    constant = Math.imul(constant, multiplier);
    return folded(Math.imul(value, constant));
  };
}

function words(number) {
  const found = [];
  for (let rest = BigInt(number); rest || !found.length; rest >>= 32n) found.push(Number(rest & 0xffffffffn));
  return found;
}

// PCG64 (XSL-RR, O'Neill 2014): a function that gives 32 bits at a time, the lower half of each 64 first.
function pcg64(key) {
  const seeds = seedWords(key, 8);
  const wide = (i) => (seeds[i + 1] << 96n) | (seeds[i] << 64n) | (seeds[i + 3] << 32n) | seeds[i + 2];
  const multiplier = 0x2360ed051fc65da44385df649fccf645n;
  const increment = (wide(4) << 1n) | 1n;
  let state = wide(0) + increment;
  const step = () => (state = BigInt.asUintN(128, state * multiplier + increment));
  step();
  let kept = null;
  return () => {
    if (kept !== null) {
      const bits = kept;
      kept = null;
      return bits;
    }
    step();
    const mixed = BigInt.asUintN(64, (state >> 64n) ^ state), turn = state >> 122n;
    const turned = (mixed >> turn) | (mixed << (64n - turn));
    kept = Number(BigInt.asUintN(32, turned >> 32n));
    return Number(BigInt.asUintN(32, turned));
  };
}

// The ziggurat (Marsaglia and Tsang 2000) in single precision: layers of equal area under the density, 1 the narrowest,
// 255 the widest, and 0 the lowest, which holds the tail.
const TAIL = 3.6541528853610088, AREA = 0.00492867323399;
const density = (x) => Math.exp(-0.5 * x * x);
const edges = new Float64Array(256); // on the right
edges[0] = AREA / density(TAIL);
edges[255] = TAIL;
for (let i = 254; i; i--) edges[i] = Math.sqrt(-2 * Math.log(AREA / edges[i + 1] + density(edges[i + 1])));
const widths = Float32Array.from(edges, (edge) => edge / 2 ** 23);
const heights = Float32Array.from(edges, (edge, i) => (i ? density(edge) : 1));
// Up to here, in units of a width, a layer lies below the density whatever the height.
const inside = edges.map((edge, i) => (i === 1 ? 0 : Math.round((edges[i ? i - 1 : 255] / edge) * 2 ** 23)));

function normal(next) {
  const float = Math.fround;
  const uniform = () => float((next() >>> 8) / 2 ** 24);
  for (;;) {
    const bits = next(), layer = bits & 255, depth = bits >>> 9, sign = bits & 256 ? -1 : 1;
    const x = float(depth * widths[layer]);
    if (depth < inside[layer]) return sign * x;
    if (layer) {
      const height = float(float(heights[layer - 1] - heights[layer]) * uniform()) + heights[layer];
      if (height < density(x)) return sign * x;
      continue;
    }
    for (;;) {
      const beyond = float(float(-1 / TAIL) * float(Math.log1p(-uniform())));
      if (-2 * Math.log1p(-uniform()) > beyond * beyond) return (depth & 256 ? -1 : 1) * float(float(TAIL) + beyond);
    }
  }
}
