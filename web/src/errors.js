// What went wrong and what to do about it.

/** A problem that a person can do something about: a sentence on what is wrong, and one on what to do. */
export class Refusal extends Error {
  constructor(problem, remedy) {
    super(`${problem} ${remedy}`);
  }
}

/** Any error as such a message. */
export function explain(error) {
  if (error instanceof Refusal) return error.message;
  const text = error?.message ?? String(error);
  // ONNX Runtime throws bare numbers, addresses of C++ exceptions, where allocation fails.
  if (error instanceof RangeError || typeof error === "number" || /memory|alloc/i.test(text)) {
    return "There is too little memory on this device. Close other tabs, or take a shorter clip, and load the page again.";
  }
  return `This did not work (${text.split("\n")[0].slice(0, 200)}). Load the page again; if that does not help, try another browser.`;
}

/** Refuse a browser that cannot run the networks. */
export function checkBrowser() {
  // A module with one function that makes a vector of 128 bits.
  const simd = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11];
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(Uint8Array.from(simd))) {
    throw new Refusal(
      "This browser has no WebAssembly SIMD, which the model needs.",
      "Use a current Firefox, Chrome, Edge or Safari (16.4 or later).",
    );
  }
  if (!globalThis.Worker || !globalThis.OfflineAudioContext) {
    throw new Refusal("This browser has no workers or no Web Audio.", "Use a current Firefox, Chrome, Edge or Safari.");
  }
}
