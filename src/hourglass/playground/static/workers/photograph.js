// @ts-check
/**
 * A worker that denoises photographs.
 *
 * It takes messages `{number, pixels, size, level}`, with pixels as bytes, and posts `{type: "progress", number, done}`, `{type: "restored",
 * number, pixels, level, seconds}` and `{type: "failed", number, message}`.
 */

import { engineModule, photographWeights } from "../app/data.js";
import { Engine } from "../engine/engine.js";
import { RestorationNet, restoreImage } from "../engine/restoration.js";

/** The largest side of the part in which the level is looked for. */
const PART = 384;

/** @type {{network: RestorationNet, tile: string} | undefined} the network for the tiles of the last photograph */
let made;

/** @param {MessageEvent} event */
self.onmessage = async ({ data: { number, pixels: bytes, size, level } }) => {
  try {
    const pixels = Float32Array.from(bytes, (byte) => byte / 255);
    const [module, weights] = await Promise.all([engineModule(), photographWeights()]);
    /** @param {[number, number]} tile */
    const networkFor = (tile) => {
      if (made?.tile !== String(tile))
        made = { network: new RestorationNet(new Engine(module), weights, tile), tile: String(tile) };
      return made.network;
    };
    const start = performance.now();
    const found = level ?? levelOf(networkFor, pixels, size);
    const report = (/** @type {number} */ done) => postMessage({ type: "progress", number, done });
    const restored = restoreImage(networkFor, pixels, size, found, report);
    const seconds = (performance.now() - start) / 1000;
    const result = Uint8ClampedArray.from(restored, (value) => 255 * value);
    postMessage({ type: "restored", number, pixels: result, level: found, seconds }, { transfer: [result.buffer] });
  } catch (error) {
    postMessage({ type: "failed", number, message: error instanceof Error ? error.message : String(error) });
  }
};

/**
 * The level of the noise: the root mean square of what the network removes when it does not know the level, from the
 * middle of the photograph.
 * @param {(tile: [number, number]) => RestorationNet} networkFor
 * @param {Float32Array} pixels
 * @param {[number, number]} size
 */
function levelOf(networkFor, pixels, [height, width]) {
  const [rows, columns] = [Math.min(height, PART), Math.min(width, PART)];
  const [top, left] = [(height - rows) >> 1, (width - columns) >> 1];
  const part = new Float32Array(rows * columns * 3);
  for (let y = 0; y < rows; y++) {
    const from = ((top + y) * width + left) * 3;
    part.set(pixels.subarray(from, from + columns * 3), y * columns * 3);
  }
  const restored = restoreImage(networkFor, part, [rows, columns], null);
  let sum = 0;
  for (let i = 0; i < part.length; i++) sum += (part[i] - restored[i]) ** 2;
  return Math.sqrt(sum / part.length);
}
