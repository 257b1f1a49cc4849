// @ts-check
/** The networks of the six experiments, and others of their kind. */

import { BatchNorm } from "./batchnorm.js";
import { Activation, Convolution, Dense, Enlarge, Join, Layer, Pool } from "./layers.js";
/** @typedef {import("./layers.js").Shape} Shape */
/** @typedef {"none" | "batch" | "batch-manual"} Norm */

/**
 * The dense autoencoder: image → `codeSize` ReLU units → logits of the image.
 * @param {Shape} shape of the images
 * @param {number} [codeSize]
 */
export function denseAutoencoder(shape, codeSize = 32) {
  const [height, width, channels] = shape;
  return [
    new Dense({ outputs: codeSize }),
    new Activation({ name: "code" }),
    new Dense({ outputs: height * width * channels, shape, name: "output" }),
  ];
}

/**
 * The convolutional autoencoder: a pyramid of convolutions and maxima, and its mirror image.
 * @param {Shape} shape of the images
 * @param {number[]} [channels] feature maps of each stage of the encoder
 * @param {{skip?: boolean}} [options] `skip` joins each stage of the decoder with the encoder's maps of its size
 */
export function convAutoencoder([height, width, colours], channels = [16, 8, 8], { skip = false } = {}) {
  /** @type {Layer[]} */
  const layers = [];
  /** @type {Array<[number, number]>} */
  const sizes = [];
  /** @type {Layer[]} */
  const kept = [];
  channels.forEach((outputs, i) => {
    sizes.unshift([height, width]);
    [height, width] = [Math.ceil(height / 2), Math.ceil(width / 2)];
    const maps = new Activation({ name: `encoder ${i + 1}` });
    kept.unshift(maps);
    const name = i === channels.length - 1 ? "code" : "";
    layers.push(new Convolution({ outputs }), maps, Object.assign(new Pool(), { name }));
  });
  [...channels].reverse().forEach((outputs, i) => {
    layers.push(new Enlarge({ height: sizes[i][0], width: sizes[i][1] }), new Convolution({ outputs }));
    layers.push(new Activation({ name: `decoder ${i + 1}` }));
    if (skip) {
      layers.push(new Join({ other: kept[i] }), new Convolution({ outputs }));
      layers.push(new Activation({ name: `joined ${i + 1}` }));
    }
  });
  return [...layers, new Convolution({ outputs: colours, name: "output" })];
}

/**
 * The deep classifier: convolution d = 1, 2, … has 4 d channels, and stride 2 where d is a multiple of 3; a dense layer
 * of 100 units and one of `classes` follow.
 * @param {object} [options]
 * @param {Norm} [options.norm] normalisation before each activation; with one, the layers before it have no bias
 * @param {number} [options.depth] number of convolutions
 * @param {"relu" | "sigmoid" | "tanh"} [options.activation]
 * @param {number} [options.momentum] share of the new batch in the stored statistics
 * @param {number} [options.classes]
 * @param {boolean} [options.bessel] whether the stored variances of convolutions are corrected; by default as
 *   TensorFlow's layer does it, which is "batch"
 */
export function classifier({
  norm = "none",
  depth = 19,
  activation = "relu",
  momentum = 0.01,
  classes = 10,
  bessel = norm === "batch",
} = {}) {
  /** @type {Layer[]} */
  const layers = [];
  const bias = norm === "none";
  /** @param {string} name @param {boolean} corrected */
  const finish = (name, corrected) => {
    if (norm !== "none") layers.push(new BatchNorm({ momentum, bessel: corrected }));
    layers.push(new Activation({ kind: activation, name }));
  };
  for (let d = 1; d <= depth; d++) {
    layers.push(new Convolution({ outputs: 4 * d, stride: d % 3 ? 1 : 2, bias }));
    finish(`convolution ${d}`, bessel);
  }
  layers.push(new Dense({ outputs: 100, bias }));
  finish("hidden", false);
  return [...layers, new Dense({ outputs: classes, name: "output" })];
}
