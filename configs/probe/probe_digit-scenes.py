"""Linear probes on the bundled scenes: handwritten digits on clutter, 96 pixels.

    ssl-bench probe

Cost: under a minute on two cores.
Expected: the bundled backbone at least 10 points ahead of random initialisation.
"""

protocol = "probe"
dataset = "digit-scenes"
