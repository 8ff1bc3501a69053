"""Slow, obvious implementations that tests compare with."""
