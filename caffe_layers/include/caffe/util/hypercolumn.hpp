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

/**
 * @brief One element of the forward pass of one level; index runs over rows x channels of it.
 *
 * `features` is (N, C, H, W), `locations` (N, P, 2), `hypercolumn` (N * P, total channels).
 */
template <typename Dtype>
struct GatherHypercolumn {
  HypercolumnLevel level;
  int locations_per_image;
  int total_channels;
  const Dtype* locations;
  const Dtype* features;
  Dtype* hypercolumn;

  AUTOCOLOR_HOST_DEVICE void operator()(long index) const {
    const long row = index / level.channels;
    const int channel = static_cast<int>(index % level.channels);
    const BilinearCell<Dtype> cell =
        level.CellAt<Dtype>(locations[2 * row], locations[2 * row + 1]);
    const long map = (row / locations_per_image) * level.channels + channel;
    hypercolumn[row * total_channels + level.first_channel + channel] =
        static_cast<Dtype>(level.multiplier) * Gather(cell, features + map * level.plane());
  }
};

/// One element of the backward pass: adds to the four nearest cells through `add`, which has to be
/// atomic, since locations may share cells.
template <typename Dtype, typename AtomicAdd>
struct ScatterHypercolumn {
  HypercolumnLevel level;
  int locations_per_image;
  int total_channels;
  const Dtype* locations;
  const Dtype* hypercolumn_diff;
  Dtype* features_diff;
  AtomicAdd add;

  AUTOCOLOR_HOST_DEVICE void operator()(long index) const {
    const long row = index / level.channels;
    const int channel = static_cast<int>(index % level.channels);
    const BilinearCell<Dtype> cell =
        level.CellAt<Dtype>(locations[2 * row], locations[2 * row + 1]);
    const long map = (row / locations_per_image) * level.channels + channel;
    const Dtype value = static_cast<Dtype>(level.multiplier) *
                        hypercolumn_diff[row * total_channels + level.first_channel + channel];
    Scatter(cell, value, features_diff + map * level.plane(), add);
  }
};

}  // namespace caffe

#endif  // CAFFE_UTIL_HYPERCOLUMN_HPP_
