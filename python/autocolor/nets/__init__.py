"""The networks as prototxt, their solvers, and the weights that they start from."""
