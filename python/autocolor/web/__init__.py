"""The web page of ``autocolor serve``."""
