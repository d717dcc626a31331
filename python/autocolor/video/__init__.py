"""Films: read upright, colorized without flicker in resumable segments, written with their sound."""
