// The page: what is clicked, dropped and shown.

import { Codec, empty, place } from "./codec.js";
import { edit } from "./edits.js";
import { Refusal, checkBrowser, explain } from "./errors.js";
import { isolate } from "./isolation.js";
import * as m2l from "./m2l.js";
import { drawLatents, drawSound } from "./picture.js";
import { LEAD, Player, Track } from "./player.js";
import { decodeFile, record } from "./sound.js";
import { wav } from "./wav.js";

const $ = (selector) => document.querySelector(selector);
const [edits, settings] = [$("#edits"), $("#settings")];
let worker, codec, player;
let clip = null; // what was opened: { name, numSamples, latents, original }, original a track or null
let result = null; // what is made of it: { track, latents, numSamples, dropped, done, outdated }
let job = 0, recording = null, moving;
let loaded;
const model = new Promise((resolve, reject) => (loaded = { resolve, reject }));

main().catch(fail);

async function main() {
  checkBrowser();
  await isolate();
  worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => handlers[data.type](data);
  worker.onerror = (event) => loaded.reject(new Error(event.message ?? "the worker did not start"));
  listen();
  showEdits();
  await model;
}

// ------------------------------------------------------------------------------------------------ what the worker says

const progress = {};
const handlers = {
  progress({ path, loaded, total }) {
    progress[path] = [loaded, Math.max(loaded, total)];
    const [done, all] = [0, 1].map((i) => Object.values(progress).reduce((sum, one) => sum + one[i], 0));
    $("#progress").hidden = false;
    $("#progress").value = done / all;
    say(`Loading the model: ${(done / 1e6).toFixed(1)} of ${(all / 1e6).toFixed(1)} MB`);
    if (done === all) say("Preparing the model");
  },
  ready({ facts, provider, threads }) {
    codec = new Codec(facts);
    player = new Player(codec.rate, showPlaying);
    $("#model").textContent = facts.model_id;
    $("#progress").hidden = true;
    const means = provider === "webgpu" ? "on the graphics card" : `on the processor, ${threads} thread${threads > 1 ? "s" : ""}`;
    say(`Ready: the model runs ${means}`);
    document.body.dataset.ready = `${provider} ${threads}`;
    navigator.serviceWorker?.controller?.postMessage("loaded");
    loaded.resolve();
  },
  latents({ id, length, piece }) {
    if (id !== job) return;
    clip.latents = result.latents ??= empty(piece.channels, piece.dim, length);
    place(clip.latents, piece, piece.start);
    showLatents();
  },
  sound({ id, start, sound }) {
    if (id !== job) return;
    const { track } = result;
    track.put(start, sound);
    if (player.track === track && player.feed() && !player.silent) sounded();
    drawSound($("#result canvas"), track.sound, track.rate, track.ready);
    say(`Decoding: ${Math.floor((100 * track.ready) / track.total)} %`);
  },
  done({ id, seconds }) {
    if (id !== job) return;
    result.done = true;
    player.feed();
    const pace = result.track.total / codec.rate / seconds;
    $("#timings").textContent += `made in ${seconds.toFixed(1)} s, ${pace.toFixed(1)} × real time`;
    say(player.track && player.silent ? "Done. The browser waits for a click: press Play" : "Done");
    showPlaying();
  },
  error({ id, text }) {
    const error = new Refusal(text, "");
    if (id === undefined) loaded.reject(error);
    else if (id === job) fail(error);
  },
};

// ------------------------------------------------------------------------------------------------- what the visitor does

function listen() {
  $("#choose").onclick = () => $("#file").click();
  $("#file").onchange = ({ target }) => {
    if (target.files.length) open(target.files[0]);
    target.value = "";
  };
  $("#example").onclick = attempt(async () => {
    const response = await fetch("example.ogg");
    if (!response.ok) throw new Refusal("The example is missing.", "Choose a file of your own.");
    await open(new File([await response.blob()], "example.ogg"));
  });
  $("#record").onclick = attempt(async () => {
    if (recording) return recording.stop();
    recording = await record();
    $("#record").textContent = "Stop recording";
    say("Recording: press Stop when you are done");
    const file = await recording.file;
    recording = null;
    $("#record").textContent = "Record";
    await open(file);
  });
  const drop = $("#drop");
  addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  addEventListener("dragleave", () => drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
  });
  edits.oninput = edited;
  edits.onreset = () => setTimeout(edited); // when it has been done
  settings.onsubmit = (event) => event.preventDefault();
  settings.onchange = ({ target }) => {
    if (!settings.reportValidity()) return;
    if (target.name !== "whole" || !clip?.original) return edited();
    edits.reset();
    make(clip.original.sound);
  };
  $("#original .play").onclick = () => toggle(clip.original);
  $("#result .play").onclick = () => (result.outdated ? make() : toggle(result.track));
  $("#save-latents").onclick = () => save(m2l.write(result, codec), "m2l");
  $("#save-sound").onclick = () => save(wav(result.track.sound, codec.rate), "wav");
  addEventListener("pointerdown", () => player?.wake());
  addEventListener("resize", () => clip && showAll());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => clip && showAll());
}

const attempt = (action) => () => action().catch(fail);

async function open(file) {
  const dropped = performance.now();
  try {
    await model;
    stop();
    say(`Reading ${file.name}`);
    const name = file.name.replace(/\.[^.]*$/, "");
    if (/\.m2l$/i.test(file.name)) {
      clip = { name, ...m2l.read(await file.arrayBuffer(), codec), original: null };
      edits.reset();
      make(null, dropped);
    } else {
      const sound = await decodeFile(file, codec.rate);
      clip = { name, latents: null, numSamples: sound[0].length, original: new Track(sound, codec.rate) };
      edits.reset();
      make(sound, dropped);
    }
  } catch (error) {
    fail(error);
  }
}

/** Decode the latents as they were edited, or code sound anew; it plays as soon as there is some. */
function make(sound = null, dropped = performance.now()) {
  stop();
  const { latents, numSamples } = sound ? { latents: null, numSamples: clip.numSamples } : wanted();
  const silence = Array.from(sound ?? Array(latents.channels).fill(), () => new Float32Array(numSamples));
  result = { track: new Track(silence, codec.rate, 0), latents, numSamples, dropped, done: false, outdated: false };
  worker.postMessage({ id: job, sound, latents, numSamples, seed: seed(), short: !settings.whole.checked });
  $("#timings").textContent = "";
  $("#work").hidden = false;
  player.play(result.track);
  showAll();
}

/** End what is being made and played. */
function stop() {
  $("#error").hidden = true;
  job++;
  worker.postMessage({ id: null });
  player.stop();
}

function edited() {
  showEdits();
  if (!result?.done) return;
  Object.assign(result, wanted(), { outdated: true });
  showLatents();
  showPlaying();
}

const seed = () => Number(settings.seed.value);
const changes = () => ({ scale: +edits.scale.value, noise: +edits.noise.value, stretch: +edits.stretch.value, swap: edits.swap.checked });
const wanted = () => edit(clip, changes(), codec, seed());

function toggle(track) {
  if (player.track === track) player.stop();
  else player.play(track);
}

function save(bytes, suffix) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes]));
  link.download = `${clip.name}.${suffix}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// --------------------------------------------------------------------------------------------------------- what is shown

function say(text) {
  $("#status").textContent = text;
}

function fail(error) {
  console.warn(error);
  $("#error").textContent = explain(error);
  $("#error").hidden = false;
  $("#progress").hidden = true;
  say(codec ? "Ready" : "The model is not loaded");
  player?.stop();
  if (result && !result.done) {
    $("#work").hidden = true;
    clip = result = null;
  }
  showPlaying();
}

function sounded() {
  const seconds = (performance.now() - result.dropped) / 1000 + LEAD + (player.context.outputLatency || 0);
  document.body.dataset.firstSound = seconds.toFixed(3);
  $("#timings").textContent = `first sound after ${seconds.toFixed(1)} s; `;
}

function showAll() {
  $("#original").hidden = !clip.original;
  if (clip.original) drawSound($("#original canvas"), clip.original.sound, codec.rate);
  drawSound($("#result canvas"), result.track.sound, codec.rate, result.track.ready);
  showLatents();
  showPlaying();
}

function showLatents() {
  const { latents, numSamples } = result;
  const seconds = numSamples / codec.rate;
  const shown = latents ?? empty(1, codec.dim, codec.latentsFor(numSamples));
  drawLatents($("#latents"), shown, seconds, codec.frame / codec.rate, codec.edge / codec.rate);
  const bits = (shown.values.length * 16) / seconds;
  const count = `${shown.channels > 1 ? `${shown.channels} × ` : ""}${shown.dim} × ${shown.length} numbers`;
  $("#facts").textContent = latents ? `${seconds.toFixed(2)} s, ${count}, ${(bits / 1000).toFixed(1)} kbit/s in 16 bits` : "";
}

function showEdits() {
  for (const label of edits.querySelectorAll("label:has(span)")) label.querySelector("span").textContent = label.control.value;
}

function showPlaying() {
  for (const input of [...edits.elements, ...settings.elements]) input.disabled = result?.done === false;
  if (!result) return;
  const playing = (track) => track && player.track === track;
  $("#original .play").textContent = playing(clip.original) ? "Stop" : "Play";
  $("#result .play").textContent = result.outdated ? "Make and play" : playing(result.track) ? "Stop" : "Play";
  $("#save-sound").disabled = !result.done || result.outdated;
  $("#save-latents").disabled = !result.done;
  document.body.dataset.state = !result.done ? "making" : result.outdated ? "outdated" : "done";
  moveCursors();
}

function moveCursors() {
  if (!result) return;
  for (const [selector, track] of [["#original", clip.original], ["#result", result.track], ["#work", result.track]]) {
    const cursor = $(`${selector} .cursor`), playing = track && player.track === track && !(track === result.track && result.outdated);
    cursor.style.display = playing ? "block" : "none";
    if (playing) cursor.style.left = `${(100 * player.seconds * codec.rate) / track.total}%`;
  }
  clearTimeout(moving);
  if (player.track) moving = setTimeout(moveCursors, 60); // a picture for every refresh would take time from the networks
}
