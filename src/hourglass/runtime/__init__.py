"""The machine that everything runs on: device and precision, threads, forked processes, and the faster forms."""
