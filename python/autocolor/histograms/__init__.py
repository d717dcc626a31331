"""Histograms of colour: their bins, what they are read as, and how they are enlarged."""
