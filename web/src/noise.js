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
  const numbers = new Float32Array(count);
  for (let i = 0; i < count; i++) numbers[i] = normal(next);
  return numbers;
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

// PCG64 (XSL-RR, O'Neill 2014): a function that gives 32 bits at a time, the lower half of each 64 first. Its 128 bits
// are four numbers of 32, times eight of 16: big integers take more than twice as long.
function pcg64(key) {
  const seeds = seedWords(key, 8);
  const wide = (i) => (seeds[i + 1] << 96n) | (seeds[i] << 64n) | (seeds[i + 3] << 32n) | seeds[i + 2];
  const increment = (wide(4) << 1n) | 1n;
  const added = limbs(increment, 16), state = limbs(wide(0) + increment, 32), last = new Float64Array(4);
  const step = () => {
    last.set(state);
    for (let k = 0, sum = 0, lower = 0; k < 8; k++) {
      sum += added[k];
      for (let i = 0; 2 * i <= k; i++) sum += last[i] * MULTIPLIER[k - 2 * i]; // below 2^51, so exact
      const carry = Math.floor(sum / 65536), limb = sum - carry * 65536;
      if (k & 1) state[k >> 1] = limb * 65536 + lower;
      lower = limb;
      sum = carry;
    }
  };
  step();
  let kept = -1;
  return () => {
    if (kept >= 0) {
      const bits = kept;
      kept = -1;
      return bits;
    }
    step();
    const low = state[0] ^ state[2], high = state[1] ^ state[3], turn = state[3] / 2 ** 26;
    const [a, b] = turn >= 32 ? [high, low] : [low, high]; // 64 bits, the lower half first, to be rotated to the right
    kept = turned(b, a, turn & 31);
    return turned(a, b, turn & 31);
  };
}

const turned = (low, high, by) => (by ? (low >>> by) | (high << (32 - by)) : low) >>> 0;

/** 128 bits as numbers of so many each, the lowest first. */
function limbs(number, bits) {
  return Float64Array.from({ length: 128 / bits }, (_, i) => Number(BigInt.asUintN(bits, number >> BigInt(bits * i))));
}

const MULTIPLIER = limbs(0x2360ed051fc65da44385df649fccf645n, 16);

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
