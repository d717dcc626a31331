"""Changes to what a model predicts: target statistics, quantiles, biases and hints."""
