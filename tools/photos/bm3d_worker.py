"""Denoises arrays with the package bm3d, in an environment of its own.

Usage: python bm3d_worker.py < requests. Each line is JSON: path of a noisy array (.npy, float64 in [0, 1], height ×
width × channels), path for the result, and the level of the noise. Answers each line with the seconds that it took.
"""

import json
import sys
import time

import bm3d  # type: ignore[import-not-found]  # it is in an environment of its own
import numpy as np

for line in sys.stdin:
    source, target, level = json.loads(line)
    noisy = np.load(source)
    started = time.perf_counter()
    restored = bm3d.bm3d_rgb(noisy, level) if noisy.shape[2] == 3 else bm3d.bm3d(noisy[..., 0], level)
    seconds = time.perf_counter() - started
    np.save(target, restored.reshape(noisy.shape))
    print(seconds, flush=True)
