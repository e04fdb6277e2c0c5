"""Measured speed: ``python -m benchmarks`` prints ratios taken in one run and stores them as JSON."""
