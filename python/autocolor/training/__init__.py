"""Training with Caffe's own tool or with pycaffe, and of heads on features that are kept."""
