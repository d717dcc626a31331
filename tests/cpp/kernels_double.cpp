// Kernels in double, for tests/python/layers/test_layers.py to compare with SciPy, scikit-image and
// colorsys: pycaffe itself computes in float.
#include <vector>

#include "caffe/util/color_conversion.hpp"
#include "caffe/util/hypercolumn.hpp"

extern "C" void gather_double(int channels, int height, int width, double scale, double offset,
                              int locations, const double* at, const double* features,
                              double* out) {
  const caffe::HypercolumnLevel level = {channels, height, width, scale, offset,
                                         offset,   1,      0,     false};
  std::vector<caffe::BilinearCell<double> > cells(locations);
  const caffe::LocateCells<double> locate = {level, {at, 2}, cells.data()};
  for (int i = 0; i < locations; ++i) locate(i);
  const caffe::GatherHypercolumn<double> gather = {
      {level, {locations, nullptr, nullptr, nullptr}, channels, cells.data()}, features, out};
  for (int64_t i = 0; i < static_cast<int64_t>(locations) * channels; ++i) gather(i);
}

template <typename Convert>
void Split(int pixels, const double* bgr, double* lightness, double* color) {
  const caffe::SplitColor<double, Convert> split = {pixels, bgr, lightness, color};
  for (int i = 0; i < pixels; ++i) split(i);
}

// `space` as in ColorSpaceParameter; bgr is (3, pixels), lightness (pixels), color (2, pixels).
extern "C" void split_color_double(int space, int pixels, const double* bgr, double* lightness,
                                   double* color) {
  if (space == 0) Split<caffe::HueChroma<double> >(pixels, bgr, lightness, color);
  if (space == 1) Split<caffe::LabColor<double> >(pixels, bgr, lightness, color);
  if (space == 2) Split<caffe::AlphaBeta<double> >(pixels, bgr, lightness, color);
}
