"""Images in files and in memory, colour spaces, and a joint bilateral filter."""
