"""Parts of tests/benchmarks/compare.py: the salon, the tools, what is measured, tables and plots."""
