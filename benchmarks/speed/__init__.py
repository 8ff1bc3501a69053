"""Speed and memory, each side by side with something known, never as a timed test."""
