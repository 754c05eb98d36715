// Pictures with a time axis below: latents in colour, and the outline of sound.

const AXIS = 18; // pixels

/** Prepare a canvas in the screen's resolution and draw the axis; returns what to draw with and on. */
function begin(canvas, seconds) {
  const ratio = devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const colour = (name) => getComputedStyle(canvas).getPropertyValue(name);
  context.fillStyle = context.strokeStyle = colour("--muted");
  context.font = "11px system-ui, sans-serif";
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120].find((one) => (one / seconds) * width > 45) ?? 300;
  for (let tick = 0; tick * step <= seconds; tick++) {
    const x = (tick * step * width) / seconds;
    context.fillRect(Math.min(x, width - 1), height - AXIS, 1, 4);
    const label = `${+(tick * step).toFixed(1)} s`, room = context.measureText(label).width;
    context.fillText(label, Math.min(Math.max(x - room / 2, 0), width - room), height - 3);
  }
  return { context, width, height: height - AXIS - 2, colour };
}

/** Latents of one channel of the sound, from blue (-3) over the background to orange (3). */
export function drawLatents(canvas, latents, seconds, frameSeconds, edgeSeconds) {
  const { context, width, height, colour } = begin(canvas, seconds);
  const { dim, length, values } = latents;
  const [low, zero, high] = ["--low", "--surface", "--high"].map((name) => rgb(colour(name)));
  const image = new ImageData(length, dim);
  for (let row = 0; row < dim; row++) {
    for (let i = 0; i < length; i++) {
      const value = Math.max(-1, Math.min(1, values[row * length + i] / 3)), end = value < 0 ? low : high;
      const shade = zero.map((from, k) => from + (end[k] - from) * Math.abs(value));
      image.data.set([...shade, 255], 4 * (row * length + i));
    }
  }
  const small = new OffscreenCanvas(length, dim);
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  // A frame begins with what was mirrored before it.
  const x = (time) => (time / seconds) * width;
  context.save();
  context.rect(0, 0, width, height);
  context.clip();
  context.drawImage(small, x(-edgeSeconds / 2), 0, x(length * frameSeconds), height);
  context.restore();
}

/** The least and greatest sample in every column of the picture. */
export function drawSound(canvas, sound, rate, ready = sound[0].length) {
  const { context, width, height, colour } = begin(canvas, sound[0].length / rate);
  context.fillStyle = colour("--accent");
  const [channel] = sound;
  for (let x = 0; x < width; x++) {
    const start = Math.floor((x / width) * channel.length);
    const stop = Math.min(ready, Math.max(start + 1, Math.floor(((x + 1) / width) * channel.length)));
    let low = 0, high = 0;
    for (let i = start; i < stop; i++) {
      if (channel[i] < low) low = channel[i];
      if (channel[i] > high) high = channel[i];
    }
    if (start < stop) context.fillRect(x, ((1 - high) / 2) * height, 1, Math.max(1, ((high - low) / 2) * height));
  }
}

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.trim().slice(i, i + 2), 16));
