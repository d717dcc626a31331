#ifndef CAFFE_UTIL_BILINEAR_CPU_HPP_
#define CAFFE_UTIL_BILINEAR_CPU_HPP_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "caffe/util/bilinear.hpp"

namespace caffe {

// How the CPU upsamples. UpsampleValue and UpsampleAdjointValue make each value by itself, as the
// GPU wants it; here a row of outputs is blended of its two rows of cells first, which halves the
// work. Each thread has a copy of the kernel, and with it a buffer of its own.

/// A row of outputs of the interpolation of (maps, H, W) to (maps, rows, W'), the output rows
/// [first, first + rows); `index` runs over maps x rows.
template <typename Dtype>
struct UpsampleRow {
  BilinearGrid grid;
  int first;
  int rows;
  const Dtype* in;
  Dtype* out;
  std::vector<Dtype> blended;

  void operator()(int64_t index) {
    const int width = grid.width, output_width = grid.output_width;
    const BilinearTap& y = grid.rows[first + index % rows];
    const Dtype* map = in + index / rows * grid.height * width;
    const Dtype* low = map + static_cast<int64_t>(y.low) * width;
    const Dtype* high = map + static_cast<int64_t>(y.high) * width;
    const Dtype fraction = static_cast<Dtype>(y.fraction);
    blended.resize(width);
    Dtype* cells = blended.data();
    for (int i = 0; i < width; ++i) {
      cells[i] = (1 - fraction) * low[i] + fraction * high[i];
    }
    Dtype* row = out + index * output_width;
    for (int i = 0; i < output_width; ++i) {
      const BilinearTap& x = grid.columns[i];
      const Dtype right = static_cast<Dtype>(x.fraction);
      row[i] = (1 - right) * cells[x.low] + right * cells[x.high];
    }
  }
};

/// A map of the adjoint of the interpolation, overwritten: no two indices write to one place.
/// `index` runs over the maps.
template <typename Dtype>
struct UpsampleAdjointMap {
  BilinearGrid grid;
  const Dtype* out;
  Dtype* in;
  std::vector<Dtype> blended;

  void operator()(int64_t index) {
    const int width = grid.width, output_width = grid.output_width;
    const int64_t plane = static_cast<int64_t>(grid.height) * width;
    Dtype* map = in + index * plane;
    std::fill(map, map + plane, Dtype(0));
    blended.resize(width);
    Dtype* cells = blended.data();
    for (int j = 0; j < grid.output_height; ++j) {
      const Dtype* row = out + (index * grid.output_height + j) * output_width;
      std::fill(cells, cells + width, Dtype(0));
      for (int i = 0; i < output_width; ++i) {
        const BilinearTap& x = grid.columns[i];
        const Dtype right = static_cast<Dtype>(x.fraction);
        cells[x.low] += (1 - right) * row[i];
        cells[x.high] += right * row[i];
      }
      const BilinearTap& y = grid.rows[j];
      const Dtype fraction = static_cast<Dtype>(y.fraction);
      Dtype* low = map + static_cast<int64_t>(y.low) * width;
      Dtype* high = map + static_cast<int64_t>(y.high) * width;
      for (int i = 0; i < width; ++i) {
        low[i] += (1 - fraction) * cells[i];
        high[i] += fraction * cells[i];
      }
    }
  }
};

}  // namespace caffe

#endif  // CAFFE_UTIL_BILINEAR_CPU_HPP_
