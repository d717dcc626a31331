// The gather of hypercolumns in double, for tests/python/test_layers.py to compare with SciPy:
// pycaffe itself computes in float.
#include "caffe/util/hypercolumn.hpp"

extern "C" void gather_double(int channels, int height, int width, double scale, double offset,
                              int locations, const double* at, const double* features,
                              double* out) {
  const caffe::HypercolumnLevel level = {channels, height, width, scale, offset, offset, 1, 0};
  const caffe::GatherHypercolumn<double> gather = {{level, locations, channels, at}, features, out};
  for (long i = 0; i < static_cast<long>(locations) * channels; ++i) gather(i);
}
