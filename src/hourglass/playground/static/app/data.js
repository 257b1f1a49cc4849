// @ts-check
/** The page's digits and trained networks. */

import { Engine } from "../engine/engine.js";
import { Network } from "../engine/network.js";
import * as networks from "../engine/networks.js";

/** Pixels of a digit. */
export const PIXELS = 784;
/** Height and width of a digit. */
export const SIDE = 28;

/**
 * Fetch a file of the page's data that gzip compressed.
 * @param {string} name
 * @returns {Promise<ArrayBuffer>}
 */
async function fetchData(name) {
  const response = await fetch(new URL(`../data/${name}`, import.meta.url));
  if (!response.ok || !response.body) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  return new Response(response.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/**
 * Remember the promise that a function returns first.
 * @template T
 * @param {() => Promise<T>} load
 * @returns {() => Promise<T>}
 */
function once(load) {
  /** @type {Promise<T> | undefined} */
  let promise;
  return () =>
    (promise ??= load().catch((error) => {
      promise = undefined; // what failed is tried again
      throw error;
    }));
}

/** The compiled engine. */
export const engineModule = once(() => Engine.module());

/**
 * Digits: 4,000 to train on, and 1,000 of MNIST's test images, pixels as bytes, with their labels.
 * @typedef {object} Digits
 * @property {Uint8Array} train
 * @property {Uint8Array} trainLabels
 * @property {Uint8Array} test
 * @property {Uint8Array} testLabels
 */

export const digits = once(async () => {
  const bytes = new Uint8Array(await fetchData("digits.bin"));
  const sizes = [4000 * PIXELS, 4000, 1000 * PIXELS, 1000];
  let at = 0;
  const [train, trainLabels, test, testLabels] = sizes.map((size) => bytes.subarray(at, (at += size)));
  return /** @type {Digits} */ ({ train, trainLabels, test, testLabels });
});

/**
 * One image of many, in [0, 1].
 * @param {Uint8Array} images
 * @param {number} index
 */
export const imageOf = (images, index) =>
  Float32Array.from(images.subarray(index * PIXELS, (index + 1) * PIXELS), (byte) => byte / 255);

const weights = once(() => fetchData("weights.bin"));
const catalogue = once(async () => JSON.parse(new TextDecoder().decode(await fetchData("networks.bin"))));

/**
 * A trained network.
 * @param {"dense" | "conv" | "digits"} name
 * @returns {Promise<Network>}
 */
export async function trained(name) {
  const { network, options, start, count } = (await catalogue())[name];
  const module = await engineModule();
  const make = /** @type {Record<string, (...options: any[]) => import("../engine/layers.js").Layer[]>} */ (networks);
  const made = new Network(new Engine(module), [SIDE, SIDE, 1], make[network](...options));
  made.setParameters(fromFloat16(new Uint16Array(await weights(), 2 * start, count)));
  return made;
}

/**
 * Places of the test images in the plane, near each other where a network's codes are similar.
 * @param {"dense" | "conv"} name
 * @returns {Promise<Float32Array>} x and y in [0, 1] of each image, one after the other
 */
export async function placesOf(name) {
  const { start, count } = (await catalogue())[`${name} places`];
  return fromFloat16(new Uint16Array(await weights(), 2 * start, count));
}

/** The weights of the denoiser of photographs. */
export const photographWeights = once(async () => fromFloat16(new Uint16Array(await fetchData("photograph.bin"))));

/**
 * The package's own runs of the lesson's three networks on 55,000 images of MNIST: accuracies on 500 others at some steps,
 * of 20 seeds each.
 * @typedef {object} RecordedRuns
 * @property {number[]} steps
 * @property {Record<string, {inference: number[][], batch: number[][]}>} arms by normalisation
 */
export const recordedRuns = once(
  async () => /** @type {RecordedRuns} */ (JSON.parse(new TextDecoder().decode(await fetchData("recorded.bin")))),
);

/**
 * Numbers of 16 bits (IEEE 754) as numbers of 32.
 * @param {Uint16Array} halves
 */
function fromFloat16(halves) {
  return Float32Array.from(halves, (half) => {
    const [sign, exponent, fraction] = [half >> 15 ? -1 : 1, (half >> 10) & 31, half & 1023];
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
  });
}
