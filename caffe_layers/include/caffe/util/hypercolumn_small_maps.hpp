#ifndef CAFFE_UTIL_HYPERCOLUMN_SMALL_MAPS_HPP_
#define CAFFE_UTIL_HYPERCOLUMN_SMALL_MAPS_HPP_

#include <algorithm>

#include "caffe/util/hypercolumn.hpp"

namespace caffe {

// The passes of blocks of small maps on the CPU. Such maps are read or written many times over, so a
// block is turned around first: the channels of a cell then lie side by side, and the compiler takes
// them several at a time. The sums are those of the plain passes, in the same order.

/// Values of a block that is turned around.
const int kSmallMapsValues = 8192;
/// Channels that are turned at a time: a cache line of floats.
const int kSmallMapsLanes = 16;

/// Whether turning the maps costs less than it saves: it moves each cell once, and the plain passes
/// read or write four cells for each location.
inline bool AreSmallMaps(int plane, int locations) {
  return plane * kSmallMapsLanes <= kSmallMapsValues && plane <= 2 * locations;
}

/// Channels of a block of small maps.
inline int SmallMapsChannels(int plane) {
  return kSmallMapsValues / plane / kSmallMapsLanes * kSmallMapsLanes;
}

/// As GatherHypercolumnBlock, with blocks of at most SmallMapsChannels channels.
template <typename Dtype>
struct GatherSmallMaps {
  HypercolumnBlock<Dtype> block;
  const Dtype* features;
  Dtype* hypercolumns;

  void operator()(int64_t index) const {
    const HypercolumnIndexing<Dtype>& at = block.at;
    const int count = block.count(index), plane = at.level.plane();
    const Dtype multiplier = static_cast<Dtype>(at.level.multiplier);
    const Dtype* maps = features + block.maps(index);
    alignas(64) Dtype turned[kSmallMapsValues];
    for (int first = 0; first < count; first += kSmallMapsLanes) {
      const int last = std::min(first + kSmallMapsLanes, count);
      for (int i = 0; i < plane; ++i) {
        for (int c = first; c < last; ++c) {
          turned[i * count + c] = maps[c * plane + i];
        }
      }
    }
    const BilinearCell<Dtype>* cells = at.cells + block.first_row(index);
    Dtype* out = hypercolumns + block.columns(index);
    for (int p = 0; p < at.locations_per_image; ++p, out += at.total_channels) {
      const BilinearCell<Dtype> cell = cells[p];
      const Dtype *a = turned + cell.offset[0] * count, *b = turned + cell.offset[1] * count,
                  *c = turned + cell.offset[2] * count, *d = turned + cell.offset[3] * count;
#pragma omp simd
      for (int k = 0; k < count; ++k) {
        out[k] = multiplier * (cell.weight[0] * a[k] + cell.weight[1] * b[k] +
                               cell.weight[2] * c[k] + cell.weight[3] * d[k]);
      }
    }
  }
};

/// As ScatterHypercolumnBlock, with blocks of at most SmallMapsChannels channels.
template <typename Dtype>
struct ScatterSmallMaps {
  HypercolumnBlock<Dtype> block;
  const Dtype* hypercolumn_diff;
  Dtype* features_diff;

  void operator()(int64_t index) const {
    const HypercolumnIndexing<Dtype>& at = block.at;
    const int count = block.count(index), plane = at.level.plane();
    const Dtype multiplier = static_cast<Dtype>(at.level.multiplier);
    alignas(64) Dtype turned[kSmallMapsValues];
    std::fill_n(turned, plane * count, Dtype(0));
    const BilinearCell<Dtype>* cells = at.cells + block.first_row(index);
    const Dtype* in = hypercolumn_diff + block.columns(index);
    for (int p = 0; p < at.locations_per_image; ++p, in += at.total_channels) {
      const BilinearCell<Dtype> cell = cells[p];
      for (int k = 0; k < 4; ++k) {
        Dtype* sums = turned + cell.offset[k] * count;
#pragma omp simd
        for (int c = 0; c < count; ++c) {
          sums[c] += cell.weight[k] * (multiplier * in[c]);
        }
      }
    }
    Dtype* maps = features_diff + block.maps(index);
    for (int first = 0; first < count; first += kSmallMapsLanes) {
      const int last = std::min(first + kSmallMapsLanes, count);
      for (int i = 0; i < plane; ++i) {
        for (int c = first; c < last; ++c) {
          maps[c * plane + i] = turned[i * count + c];
        }
      }
    }
  }
};

}  // namespace caffe

#endif  // CAFFE_UTIL_HYPERCOLUMN_SMALL_MAPS_HPP_
