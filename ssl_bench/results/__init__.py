"""Records of finished evaluations, the store that keeps them, and their tables."""
