/** The bytes of a WAV file of 24 bits, of sound in [-1, 1]. */
export function wav(sound, rate) {
  const channels = sound.length, size = 3 * channels * sound[0].length;
  const view = new DataView(new ArrayBuffer(44 + size + (size % 2)));
  const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, view.byteLength - 8, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // whole numbers
  view.setUint16(22, channels, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 3 * channels * rate, true);
  view.setUint16(32, 3 * channels, true);
  view.setUint16(34, 24, true);
  text(36, "data");
  view.setUint32(40, size, true);
  let at = 44;
  for (let i = 0; i < sound[0].length; i++) {
    for (const channel of sound) {
      const value = Math.max(-(2 ** 23), Math.min(2 ** 23 - 1, Math.round(channel[i] * 2 ** 23)));
      view.setUint16(at, value & 0xffff, true);
      view.setInt8(at + 2, value >> 16);
      at += 3;
    }
  }
  return view.buffer;
}
