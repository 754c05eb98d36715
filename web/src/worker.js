// ONNX Runtime, in a thread of its own. Messages in: { id, sound } or { id, latents }, with numSamples, seed and
// short; a number stops that job. Out: progress, ready, latents, sound, done, error.

import { Codec, SHORT_CHUNKS, empty, place } from "./codec.js";
import { Refusal, explain } from "./errors.js";

const HERE = new URL("..", import.meta.url);
const MODEL = ["model/encoder.onnx", "model/decoder.onnx"];
const RUNTIMES = {
  webgpu: ["ort/webgpu.js", "ort/webgpu-wasm.js", "ort/webgpu.wasm"],
  wasm: ["ort/wasm.js", "ort/wasm-wasm.js", "ort/wasm.wasm"],
};
let current; // the job

const loading = load();
loading.catch((error) => postMessage({ type: "error", text: explain(error) }));

addEventListener("message", async ({ data }) => {
  current = data.id;
  try {
    if (data.id) await work(await loading, data);
  } catch (error) {
    postMessage({ type: "error", id: data.id, text: explain(error) });
  }
});

async function work(codec, { id, sound, latents, numSamples, seed, short }) {
  const begun = performance.now();
  const plan = short ? SHORT_CHUNKS : undefined;
  let ready;
  if (sound) {
    latents = empty(sound.length, codec.dim, codec.latentsFor(numSamples));
    const encoding = codec.encode(sound, plan);
    let known = 0;
    ready = async (stop) => {
      while (known < stop && current === id) {
        const { value } = await encoding.next();
        place(latents, value, value.start);
        known = value.start + value.length;
        postMessage({ type: "latents", id, length: latents.length, piece: value });
        await others();
      }
    };
  }
  for await (const piece of codec.decode(latents, numSamples, seed, plan, ready)) {
    if (current !== id) return;
    postMessage({ type: "sound", id, ...piece }, piece.sound.map((channel) => channel.buffer));
    await others();
  }
  postMessage({ type: "done", id, seconds: (performance.now() - begun) / 1000 });
}

/** Let messages in: the runtime gives way to none by itself. */
const others = () => new Promise((resolve) => setTimeout(resolve));

// -------------------------------------------------------------------------------------------------------- the model

async function load() {
  const facts = JSON.parse(new TextDecoder().decode(await fetched("model/facts.json")));
  const files = await Promise.all(MODEL.map((path) => fetched(path)));
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  const providers = adapter && !adapter.info?.isFallbackAdapter ? ["webgpu", "wasm"] : ["wasm"];
  for (const provider of providers) {
    try {
      const [codec, threads] = await start(provider, facts, files);
      postMessage({ type: "ready", facts, provider, threads });
      return codec;
    } catch (error) {
      if (provider === providers.at(-1)) throw error;
      console.warn(`${provider} is not used: ${error.message ?? error}`);
    }
  }
}

async function start(provider, facts, files) {
  const [script, mjs, wasm] = RUNTIMES[provider].map((path) => new URL(path, HERE).href);
  const ort = await import(script);
  const threads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, 8) : 1;
  Object.assign(ort.env.wasm, { wasmPaths: { mjs, wasm }, numThreads: threads });
  ort.env.logLevel = "error";
  // On a processor optimising the graph takes seconds and makes nothing faster; a graphics card may have no float16,
  // and needs the weights converted beforehand.
  const graphOptimizationLevel = provider === "webgpu" ? "all" : "disabled";
  const options = { executionProviders: [provider], graphOptimizationLevel };
  const [encoder, decoder] = [
    await ort.InferenceSession.create(files[0], options),
    await ort.InferenceSession.create(files[1], options),
  ];
  const tensor = (values, ...shape) => new ort.Tensor("float32", values, shape);
  const result = async (session, inputs) => {
    const [output] = Object.values(await session.run(inputs));
    const values = output.data.slice();
    output.dispose();
    return values;
  };
  const codec = new Codec(
    facts,
    (audio, channels) => result(encoder, { audio: tensor(audio, channels, audio.length / channels) }),
    (latents, noise, weights, channels) => {
      const columns = weights.length / channels;
      return result(decoder, {
        latents: tensor(latents, channels, codec.dim, columns / codec.columns),
        noise: tensor(noise, channels, 2, codec.bins, columns),
        weights: tensor(weights, channels, columns),
      });
    },
  );
  await warmUp(codec);
  return [codec, threads];
}

/** Browsers compile what runs for the first time, and a graphics card that computes nonsense is found out. */
async function warmUp(codec) {
  const sound = [Float32Array.from({ length: 4 * codec.frame }, (_, i) => 0.1 * Math.sin(i / 10))];
  for await (const latents of codec.encode(sound)) {
    for await (const piece of codec.decode(latents, sound[0].length, 0)) {
      if (!piece.sound[0].every(Number.isFinite)) throw new Error("it gives no numbers");
    }
  }
}

/** A file's bytes; the page is told how many have come. */
async function fetched(path) {
  const missing = new Refusal(
    `The model's file ${path} cannot be loaded.`,
    "Check the connection and load the page again; whoever runs this site: make web puts it there.",
  );
  try {
    const response = await fetch(new URL(path, HERE));
    if (!response.ok) throw missing;
    const total = Number(response.headers.get("content-length")), chunks = [];
    let loaded = 0;
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) return new Uint8Array(await new Blob(chunks).arrayBuffer());
      chunks.push(value);
      loaded += value.length;
      postMessage({ type: "progress", path, loaded, total });
    }
  } catch (error) {
    throw error instanceof TypeError ? missing : error;
  }
}
