"""What every other package stands on: arrays, files, downloads, processes. NumPy at most."""
