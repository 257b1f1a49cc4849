// @ts-check
/** Training of a classifier of digits, step by step, with what a lecturer wants to see of it. */

import { Engine } from "../engine/engine.js";
import { Convolution } from "../engine/layers.js";
import { Adam, GradientDescent, Network } from "../engine/network.js";
import { classifier } from "../engine/networks.js";
import { PIXELS } from "./data.js";
import { normal, uniform } from "./random.js";
/** @typedef {import("../engine/layers.js").Mode} Mode */

/**
 * @typedef {object} Settings
 * @property {import("../engine/networks.js").Norm} norm
 * @property {number} layers convolutions and the hidden dense layer together
 * @property {"relu" | "sigmoid" | "tanh"} activation
 * @property {"glorot" | "he" | "deviation"} start how the kernels start
 * @property {number} deviation of the kernels, with that start
 * @property {"adam" | "sgd"} optimiser
 * @property {number} learningRate
 * @property {number} batchSize
 * @property {number} momentum of the stored statistics, in TensorFlow's convention: the share that is kept
 * @property {number} seed of weights and batches
 */

/**
 * How many of some images a network classifies rightly, and its loss.
 * @typedef {{accuracy: number, loss: number}} Score
 */

const CLASSES = 10;
const TESTED = 256; // test images of an evaluation
/** Bins of a histogram of magnitudes, each a quarter of a power of ten, from 10^-12 to 10^2. */
export const BINS = { first: -12, last: 2, each: 0.25, count: 56 };

/** A network in training. */
export class Training {
  /** @type {Network} */
  network;

  /**
   * @param {WebAssembly.Module} module the engine
   * @param {import("./data.js").Digits} digits
   * @param {Settings} settings
   */
  constructor(module, digits, settings) {
    const { norm, layers, activation, momentum, batchSize, seed } = settings;
    const made = classifier({ norm, depth: layers - 1, activation, momentum: 1 - momentum });
    const limit = Math.max(100, batchSize);
    this.network = new Network(new Engine(module), [28, 28, 1], made, { limit, trained: true });
    this.digits = digits;
    this.settings = settings;
    this.#drawWeights();
    const Optimiser = settings.optimiser === "sgd" ? GradientDescent : Adam;
    this.optimiser = new Optimiser(this.network, settings.learningRate);
    this.random = uniform(seed + 1);
    this.steps = 0;
  }

  /** Draw the weights: those of convolutions as the settings say, others Glorot-uniform. */
  #drawWeights() {
    const { start, deviation, seed } = this.settings;
    const [even, bell] = [uniform(seed), normal(seed)];
    for (const layer of this.network.layers)
      for (const { numbers, shape } of layer.parameters) {
        if (shape.length < 2) continue; // biases, scales and shifts
        const values = numbers.values;
        const taps = shape.length === 4 ? shape[0] * shape[1] : 1;
        const [inputs, outputs] = shape.slice(-2);
        if (!(layer instanceof Convolution) || start === "glorot") {
          const limit = Math.sqrt(6 / (taps * (inputs + outputs)));
          for (let i = 0; i < values.length; i++) values[i] = limit * (2 * even() - 1);
        } else {
          const width = start === "he" ? Math.sqrt(2 / (taps * inputs)) : deviation;
          for (let i = 0; i < values.length; i++) values[i] = width * bell();
        }
      }
  }

  /**
   * Train on one batch, drawn at random.
   * @returns {Score} of the batch, in training mode and before the step
   */
  step() {
    const { train, trainLabels } = this.digits;
    const batch = Array.from({ length: this.settings.batchSize }, () => Math.floor(this.random() * trainLabels.length));
    const labels = batch.map((index) => trainLabels[index]);
    const loss = this.network.gradients(pixelsOf(train, batch), oneHot(labels));
    const accuracy = rightOf(this.network.last.output.values, labels) / labels.length;
    this.optimiser.step();
    this.steps++;
    return { accuracy, loss };
  }

  /**
   * Score the first test images.
   * @param {Mode} mode "inference", or "batch": normalised by the moments of batches of the training's size
   * @returns {Score}
   */
  evaluate(mode) {
    const { test, testLabels } = this.digits;
    const size = mode === "inference" ? this.network.limit : Math.min(this.settings.batchSize, TESTED);
    let [right, loss] = [0, 0];
    for (let start = 0; start < TESTED; start += size) {
      const batch = Array.from({ length: Math.min(size, TESTED - start) }, (_, i) => start + i);
      const labels = batch.map((index) => testLabels[index]);
      const logits = this.network.forward(pixelsOf(test, batch), { mode });
      right += rightOf(logits, labels);
      loss += crossEntropy(logits, labels) * labels.length;
    }
    return { accuracy: right / TESTED, loss: loss / TESTED };
  }

  /**
   * Classify 100 test images, together and one at a time.
   * @param {Mode} mode
   * @returns {{together: number, alone: number, same: number}} how many are right, together and alone, and for how many
   *   both give the same digit
   */
  oneByOne(mode) {
    const { test, testLabels } = this.digits;
    const batch = Array.from({ length: 100 }, (_, i) => i);
    const together = digitsOf(this.network.forward(pixelsOf(test, batch), { mode }), 100);
    const alone = batch.map((i) => digitsOf(this.network.forward(pixelsOf(test, [i]), { mode }), 1)[0]);
    /** @param {(i: number) => boolean} is */
    const count = (is) => batch.filter(is).length;
    return {
      together: count((i) => together[i] === testLabels[i]),
      alone: count((i) => alone[i] === testLabels[i]),
      same: count((i) => together[i] === alone[i]),
    };
  }

  /**
   * Histograms of the magnitudes of the numbers that enter each activation, and of their gradients, in the last batch.
   * @returns {Array<{name: string, numbers: number[], gradients: number[]}>} shares of the numbers in each bin; numbers
   *   that are 0 or outside all bins are in none
   */
  histograms() {
    const { layers } = this.network;
    const n = this.settings.batchSize;
    return layers.flatMap((layer, i) => {
      if (!layer.name || i === 0) return [];
      const before = layer.name === "output" ? layer : layers[i - 1];
      const size = n * layer.shape[0] * layer.shape[1] * layer.shape[2];
      const { output, gradient } = before;
      return [{ name: layer.name, numbers: magnitudes(output.values, size), gradients: magnitudes(gradient.values, size) }];
    });
  }
}

/** Numbers of a layer that its histograms count, about: more would slow the training. */
const COUNTED = 4096;
/** Steps from one counted number to the next. These primes divide no number of channels, so that all are counted. */
const STEPS = [23, 47, 79];

/** @param {ArrayLike<number>} values @param {number} size how many of them */
function magnitudes(values, size) {
  const counts = new Array(BINS.count).fill(0);
  const step = STEPS.findLast((each) => each * COUNTED <= size) ?? 1;
  const share = 1 / Math.ceil(size / step);
  for (let i = 0; i < size; i += step) {
    const bin = Math.floor((Math.log10(Math.abs(values[i])) - BINS.first) / BINS.each);
    if (bin >= 0 && bin < BINS.count) counts[bin] += share;
  }
  return counts;
}

/** @param {Uint8Array} images @param {number[]} batch */
function pixelsOf(images, batch) {
  const pixels = new Float32Array(batch.length * PIXELS);
  batch.forEach((index, i) => {
    for (let k = 0; k < PIXELS; k++) pixels[i * PIXELS + k] = images[index * PIXELS + k] / 255;
  });
  return pixels;
}

/** @param {number[]} labels */
function oneHot(labels) {
  const targets = new Float32Array(labels.length * CLASSES);
  labels.forEach((label, i) => (targets[i * CLASSES + label] = 1));
  return targets;
}

/** @param {ArrayLike<number>} logits @param {number} n */
function digitsOf(logits, n) {
  return Array.from({ length: n }, (_, i) => {
    let best = 0;
    for (let c = 1; c < CLASSES; c++) if (logits[i * CLASSES + c] > logits[i * CLASSES + best]) best = c;
    return best;
  });
}

/** @param {ArrayLike<number>} logits @param {number[]} labels */
const rightOf = (logits, labels) =>
  digitsOf(logits, labels.length).filter((digit, i) => digit === labels[i]).length;

/** Mean sigmoid cross-entropy. @param {ArrayLike<number>} logits @param {number[]} labels */
function crossEntropy(logits, labels) {
  let sum = 0;
  for (let i = 0; i < labels.length * CLASSES; i++) {
    const z = logits[i];
    const target = labels[Math.floor(i / CLASSES)] === i % CLASSES ? 1 : 0;
    sum += Math.max(z, 0) - z * target + Math.log1p(Math.exp(-Math.abs(z)));
  }
  return sum / (labels.length * CLASSES);
}
