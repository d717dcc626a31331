"""Automatic colorization with hypercolumns and real Caffe."""

__version__ = "0.1.0"
