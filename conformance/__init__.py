"""CPython's own suites, natively and under us, test by test: `python -m conformance`."""
