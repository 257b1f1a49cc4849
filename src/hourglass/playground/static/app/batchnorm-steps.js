// @ts-check
/** Batch normalisation of one channel, every number of it, forward and backward. */

/**
 * Source: Ioffe and Szegedy, "Batch Normalization", ICML 2015, section 3.
 * @param {number[]} x the batch
 * @param {number[]} gradient of the loss with respect to the output
 * @param {{gamma: number, beta: number, epsilon: number}} constants
 */
export function steps(x, gradient, { gamma, beta, epsilon }) {
  const mean = meanOf(x);
  const variance = meanOf(x.map((value) => (value - mean) ** 2));
  const root = Math.sqrt(variance + epsilon);
  const normalised = x.map((value) => (value - mean) / root);
  const output = normalised.map((value) => gamma * value + beta);
  const meanGradient = meanOf(gradient);
  const meanProduct = meanOf(gradient.map((value, i) => value * normalised[i]));
  const ofInput = gradient.map((value, i) => (gamma / root) * (value - meanGradient - normalised[i] * meanProduct));
  const [deviation, outputDeviation] = [Math.sqrt(variance) / root, (Math.abs(gamma) * Math.sqrt(variance)) / root];
  return { mean, variance, normalised, deviation, output, outputDeviation, ofInput, ofGamma: x.length * meanProduct, ofBeta: x.length * meanGradient };
}

/** @param {number[]} values */
const meanOf = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
