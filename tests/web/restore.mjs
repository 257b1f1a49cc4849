/** Usage: node restore.mjs PAGE ENGINE WEIGHTS INPUT HEIGHT WIDTH LEVEL OUTPUT. Files have 32-bit numbers. */

import { readFile, writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const [page, engine, weights, input, height, width, level, output] = process.argv.slice(2);
const address = pathToFileURL(page).href;
const { Engine } = await import(`${address}/engine/engine.js`);
const { RestorationNet, restoreImage } = await import(`${address}/engine/restoration.js`);
const module = await WebAssembly.compile(await readFile(engine));
const numbers = async (file) => {
  const bytes = await readFile(file);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
};
const values = await numbers(weights);
const networkFor = (tile) => new RestorationNet(new Engine(module), values, tile);
const size = [Number(height), Number(width)];
const start = performance.now();
const restored = restoreImage(networkFor, await numbers(input), size, level === "none" ? null : Number(level));
await writeFile(output, new Uint8Array(restored.buffer));
console.log(performance.now() - start);
