"""What would a year of many salons cost? The parts of `tests/benchmarks/scale.py`."""
