"""What every other package stands on: errors, arrays, files, downloads, processes. NumPy at most."""
