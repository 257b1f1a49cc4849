// @ts-check
/** Random numbers with a seed, so that a link shows everybody the same. */

/**
 * A generator of uniform numbers in [0, 1). Source: Tommy Ettinger's mulberry32, in the public domain.
 * @param {number} seed
 */
export function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * A generator of normal numbers with mean 0 and deviation 1 (Box and Muller, 1958).
 * @param {number} seed
 */
export function normal(seed) {
  const next = uniform(seed);
  return () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
}
