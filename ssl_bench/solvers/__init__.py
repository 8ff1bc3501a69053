"""Numeric kernels: arrays in, arrays out; no files, no data sets, no defaults."""
