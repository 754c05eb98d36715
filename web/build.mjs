// Puts the page together: node build.mjs TARGET MODEL EXAMPLE, where MODEL is a folder of music2latent export onnx.

import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [target, model, example] = process.argv.slice(2);
const here = import.meta.dirname, runtime = join(here, "node_modules/onnxruntime-web/dist");
const FILES = {
  "index.html": join(here, "index.html"),
  "style.css": join(here, "style.css"),
  "icon.svg": join(here, "icon.svg"),
  src: join(here, "src"),
  "example.ogg": example,
  ...Object.fromEntries(["encoder.onnx", "decoder.onnx", "facts.json"].map((name) => [`model/${name}`, join(model, name)])),
  // .js, as not every host knows .mjs
  "ort/wasm.js": join(runtime, "ort.wasm.min.mjs"),
  "ort/wasm-wasm.js": join(runtime, "ort-wasm-simd-threaded.mjs"),
  "ort/wasm.wasm": join(runtime, "ort-wasm-simd-threaded.wasm"),
  "ort/webgpu.js": join(runtime, "ort.webgpu.min.mjs"),
  "ort/webgpu-wasm.js": join(runtime, "ort-wasm-simd-threaded.asyncify.mjs"),
  "ort/webgpu.wasm": join(runtime, "ort-wasm-simd-threaded.asyncify.wasm"),
};

rmSync(target, { recursive: true, force: true });
const hash = createHash("sha256");
for (const [name, file] of Object.entries(FILES)) {
  mkdirSync(join(target, name, ".."), { recursive: true });
  cpSync(file, join(target, name), { recursive: true });
}
for (const entry of readdirSync(target, { recursive: true, withFileTypes: true }).filter((one) => one.isFile())) {
  hash.update(entry.name).update(readFileSync(join(entry.parentPath ?? entry.path, entry.name)));
}
const worker = readFileSync(join(here, "sw.js"), "utf8");
writeFileSync(join(target, "sw.js"), worker.replace("@VERSION@", hash.digest("hex").slice(0, 16)));
