"""Many photos and videos, one after another: which, under which names, and on one sheet."""
