"""Model folders, and what runs a trained network: Caffe, or onnxruntime."""
