#ifndef CAFFE_UTIL_COLOR_HISTOGRAM_HPP_
#define CAFFE_UTIL_COLOR_HISTOGRAM_HPP_

#include <cstdint>

#include "caffe/util/bilinear.hpp"
#include "caffe/util/locations.hpp"

namespace caffe {

/// Bin of a value among `bins`, whose `bins` - 1 inner edges ascend: an edge belongs to the bin
/// above.
template <typename Dtype>
AUTOCOLOR_HOST_DEVICE inline int BinOf(Dtype value, const Dtype* edges, int bins) {
  int bin = 0;
  int count = bins - 1;
  while (count > 0) {  // a binary search
    const int half = count / 2;
    if (value >= edges[bin + half]) {
      bin += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  return bin;
}

/// The histogram of the window around one location; `index` runs over the locations of all images.
template <typename Dtype>
struct WindowHistogram {
  int height;
  int width;
  ImageRows rows;
  int bins;  // of a channel
  bool joint;
  int region;
  const Dtype* edges;
  const Dtype* color;  // (N, 1 or 2, H, W)
  Locations<Dtype> locations;
  Dtype* histograms;  // (rows, bins or bins * bins)

  AUTOCOLOR_HOST_DEVICE void operator()(int64_t index) const {
    const int64_t plane = static_cast<int64_t>(height) * width;
    const int cells = joint ? bins * bins : bins;
    const Dtype* first = color + rows.image(index) * (joint ? 2 : 1) * plane;
    Dtype* histogram = histograms + index * cells;
    for (int k = 0; k < cells; ++k) {
      histogram[k] = 0;
    }
    const int y = NearestPixel(locations.y(index), height);
    const int x = NearestPixel(locations.x(index), width);
    // `region` may be as large as an int, so the sums are compared before they are made.
    const int before = (region - 1) / 2, after = region / 2;
    const int y0 = y > before ? y - before : 0, x0 = x > before ? x - before : 0;
    const int y1 = after < height - 1 - y ? y + after : height - 1;
    const int x1 = after < width - 1 - x ? x + after : width - 1;
    int64_t count = 0;
    for (int i = y0; i <= y1; ++i) {
      for (int j = x0; j <= x1; ++j) {
        const Dtype* pixel = first + static_cast<int64_t>(i) * width + j;
        const bool missing = pixel[0] != pixel[0] || (joint && pixel[plane] != pixel[plane]);
        if (missing) {  // NaN
          continue;
        }
        int bin = BinOf(pixel[0], edges, bins);
        if (joint) {
          bin = bin * bins + BinOf(pixel[plane], edges, bins);
        }
        histogram[bin] += 1;
        ++count;
      }
    }
    for (int k = 0; count > 1 && k < cells; ++k) {
      histogram[k] /= count;
    }
  }
};

}  // namespace caffe

#endif  // CAFFE_UTIL_COLOR_HISTOGRAM_HPP_
