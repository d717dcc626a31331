"""The experiments of the paper, and the page of their results."""
