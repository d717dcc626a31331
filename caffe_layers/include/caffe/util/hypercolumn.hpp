#ifndef CAFFE_UTIL_HYPERCOLUMN_HPP_
#define CAFFE_UTIL_HYPERCOLUMN_HPP_

#include "caffe/util/bilinear.hpp"

namespace caffe {

/// Geometry of one level of a hypercolumn.
struct HypercolumnLevel {
  int channels;
  int height;
  int width;
  double scale;          ///< input pixels between cells
  double offset_height;  ///< input row of the centre of cell 0
  double offset_width;   ///< input column of the centre of cell 0
  double multiplier;     ///< factor on the activations
  int first_channel;     ///< where the level starts in the hypercolumn

  AUTOCOLOR_HOST_DEVICE int plane() const { return height * width; }

  template <typename Dtype>
  AUTOCOLOR_HOST_DEVICE BilinearCell<Dtype> CellAt(double y, double x) const {
    return MakeBilinearCell<Dtype>(MakeBilinearTap(y, scale, offset_height, height),
                                   MakeBilinearTap(x, scale, offset_width, width), width);
  }
};

/// What the passes of one level share: `features` are (N, C, H, W), `locations` (N, P, 2) and the
/// hypercolumns (N * P, total channels).
template <typename Dtype>
struct HypercolumnIndexing {
  /// One channel of one location: its cells, the start of its map and its place in the hypercolumns.
  struct Element {
    BilinearCell<Dtype> cell;
    long map;
    long column;
  };

  HypercolumnLevel level;
  int locations_per_image;
  int total_channels;
  const Dtype* locations;

  /// `index` runs over rows x channels of the level.
  AUTOCOLOR_HOST_DEVICE Element operator[](long index) const {
    const long row = index / level.channels;
    const long channel = index % level.channels;
    return {level.CellAt<Dtype>(locations[2 * row], locations[2 * row + 1]),
            ((row / locations_per_image) * level.channels + channel) * level.plane(),
            row * total_channels + level.first_channel + channel};
  }
};

/// One element of the forward pass of one level.
template <typename Dtype>
struct GatherHypercolumn {
  HypercolumnIndexing<Dtype> indexing;
  const Dtype* features;
  Dtype* hypercolumn;

  AUTOCOLOR_HOST_DEVICE void operator()(long index) const {
    const auto element = indexing[index];
    hypercolumn[element.column] = static_cast<Dtype>(indexing.level.multiplier) *
                                  Gather(element.cell, features + element.map);
  }
};

/// One element of the backward pass: adds to the four nearest cells through `add`, which has to be
/// atomic, since locations may share cells.
template <typename Dtype, typename AtomicAdd>
struct ScatterHypercolumn {
  HypercolumnIndexing<Dtype> indexing;
  const Dtype* hypercolumn_diff;
  Dtype* features_diff;
  AtomicAdd add;

  AUTOCOLOR_HOST_DEVICE void operator()(long index) const {
    const auto element = indexing[index];
    const Dtype value =
        static_cast<Dtype>(indexing.level.multiplier) * hypercolumn_diff[element.column];
    Scatter(element.cell, value, features_diff + element.map, add);
  }
};

}  // namespace caffe

#endif  // CAFFE_UTIL_HYPERCOLUMN_HPP_
