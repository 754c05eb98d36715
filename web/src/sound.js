// Files and the microphone -> sound at the model's rate.

import { Refusal } from "./errors.js";

export const MOST_MINUTES = 10;
const tooLong = () => new Refusal(`This is longer than ${MOST_MINUTES} minutes.`, "Cut out the part that you want to hear; music2latent on the command line takes any length.");

/** A file's sound, an array a channel, at `rate`: other rates are converted by the browser. */
export async function decodeFile(file, rate) {
  if (!file.size) throw new Refusal(`${file.name} is empty.`, "Choose another file.");
  if ((await seconds(file)) > 60 * MOST_MINUTES) throw tooLong();
  if (file.size > 2 ** 29) throw new Refusal(`${file.name} is larger than 512 MB.`, "Convert it to FLAC, or cut a part out of it.");
  let buffer;
  try {
    buffer = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await file.arrayBuffer());
  } catch (error) {
    if (error instanceof RangeError) throw error;
    throw new Refusal(
      `${file.name} is no sound that this browser can read.`,
      "WAV, FLAC, MP3 and Ogg are read by all browsers; or it may be damaged.",
    );
  }
  if (buffer.duration > 60 * MOST_MINUTES) throw tooLong();
  return Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i));
}

/** A file's length as it says itself, found without decoding it; NaN or infinite where it does not say. */
function seconds(file) {
  return new Promise((resolve) => {
    const audio = new Audio(), address = URL.createObjectURL(file);
    const end = () => {
      URL.revokeObjectURL(address);
      resolve(audio.duration);
    };
    audio.onloadedmetadata = audio.onerror = end;
    audio.preload = "metadata";
    audio.src = address;
  });
}

/** Record from the microphone until `stop` is called; `file` is a promise of what was recorded. */
export async function record() {
  let stream;
  try {
    const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
  } catch {
    throw new Refusal("There is no microphone that this page may use.", "Allow it in the browser's settings for this page, or choose a file.");
  }
  const recorder = new MediaRecorder(stream, { audioBitsPerSecond: 256000 });
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  const file = new Promise((resolve) => {
    recorder.onstop = () => {
      stream.getTracks().forEach((track) => track.stop());
      resolve(new File(parts, "recording", { type: recorder.mimeType }));
    };
  });
  const stop = () => recorder.state === "inactive" || recorder.stop();
  setTimeout(stop, 60000 * MOST_MINUTES - 1000);
  recorder.start();
  return { file, stop };
}
