"""Numbers that the paper states, each with its place in the paper."""

from __future__ import annotations

BINS = 32
"""K, bins of a marginal histogram (section 3.2)."""

JOINT_BINS = 16
"""Bins along each axis of a joint histogram, K = 16 x 16 (section 3.2)."""

QUANTILE_SIGMA = 25.0
"""Standard deviation of the Gaussian whose quantiles bin the Lab axes (section 3.2)."""

HUE_LOSS_WEIGHT = 5.0
"""lambda_H, weight of the hue term of the loss (Eq. 3)."""

FADING_ETA = 0.03
"""eta of chromatic fading (Eq. 5). It carries the 1/K of Eq. 4 and so belongs to K = BINS."""

LOCATIONS_PER_IMAGE = 128
"""Hypercolumns sampled from each training image (section 3.5)."""

HIDDEN_UNITS = 1024
"""Channels of h_fc1 (section 3.5)."""

ALPHA_BETA_EPSILON = 1e-4
"""epsilon in the denominator of the alpha-beta colour space (Eq. 9)."""

CVAL_IMAGES = 1_000
"""Photos of cval1k, from the validation set of ImageNet (section 4)."""

CTEST_IMAGES = 10_000
"""Photos of ctest10k, from the validation set of ImageNet (section 4)."""

SUN_A_SUBSETS = 5
"""Random test subsets of SUN-A (section 4)."""

SUN_A_TEST_IMAGES = 1_344
"""Photos of each test subset of SUN-A (section 4)."""

SUN_A_TRAINING_IMAGES = 2_688
"""Photos of SUN-A that Cheng et al. train on (section 4)."""

SUN_6_TEST_IMAGES = 240
"""Test photos of SUN-6 (section 4)."""

SUN_6_CATEGORIES = ("beach", "castle", "outdoor", "kitchen", "living room", "bedroom")
"""Scene categories of SUN-6 (section 4)."""
