"""Lists, downloads and splits of photos, and LMDBs of them."""
