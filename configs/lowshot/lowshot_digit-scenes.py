"""Low-shot SVM on the VOC side of the bundled scenes.

    ssl-bench lowshot

Cost: under a minute on two cores.
Expected: the bundled backbone at least 10 points ahead of random initialisation.
"""

protocol = "lowshot"
dataset = "digit-scenes"
# Pictures of 160 pixels and a network of 24 channels leave little to pool: the average
# of the last map tells digits apart from one example, four places of it do not.
settings = {"features": ("final",)}
