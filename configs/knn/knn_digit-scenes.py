"""k-NN on the bundled scenes: handwritten digits on clutter, 96 pixels.

    ssl-bench knn

Cost: under a minute on two cores.
Expected: the bundled backbone at least 40 points ahead of random initialisation.
"""

protocol = "knn"
dataset = "digit-scenes"
