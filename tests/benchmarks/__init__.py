"""Benchmarks: ratios against peers and against what the machine can do, taken side by side in one run.

A bench is a function marked `@bench("name")` in any module of this package; `python -m tests.benchmarks [names]` runs it.
"""
