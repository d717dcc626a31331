"""Errors of colours, their statistics, and the loop over photos with its report."""
