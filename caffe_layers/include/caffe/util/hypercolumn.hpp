#ifndef CAFFE_UTIL_HYPERCOLUMN_HPP_
#define CAFFE_UTIL_HYPERCOLUMN_HPP_

#include "caffe/util/bilinear.hpp"
#include "caffe/util/locations.hpp"

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
  bool nearest;          ///< read the nearest cell instead of the four around a location

  AUTOCOLOR_HOST_DEVICE int plane() const { return height * width; }
};

/// The cells around one location; `index` runs over the locations of all images.
template <typename Dtype>
struct LocateCells {
  HypercolumnLevel level;
  Locations<Dtype> locations;
  BilinearCell<Dtype>* cells;

  AUTOCOLOR_HOST_DEVICE void operator()(int64_t index) const {
    cells[index] = MakeBilinearCell<Dtype>(
        Tap(locations.y(index), level.offset_height, level.height),
        Tap(locations.x(index), level.offset_width, level.width), level.width);
  }
  AUTOCOLOR_HOST_DEVICE BilinearTap Tap(Dtype coordinate, double offset, int size) const {
    if (!level.nearest) {
      return MakeBilinearTap(coordinate, level.scale, offset, size);
    }
    const int cell = NearestPixel(static_cast<Dtype>((coordinate - offset) / level.scale), size);
    return {cell, cell, 0};
  }
};

/// What the passes of one level share. The features of the level are (N, C, H, W), the hypercolumns
/// (rows, total channels), and `cells` those of all rows.
template <typename Dtype>
struct HypercolumnIndexing {
  HypercolumnLevel level;
  ImageRows rows;
  int total_channels;
  const BilinearCell<Dtype>* cells;

  AUTOCOLOR_HOST_DEVICE int64_t map(int64_t image, int channel) const {
    return (image * level.channels + channel) * level.plane();
  }
  AUTOCOLOR_HOST_DEVICE int64_t column(int64_t row, int channel) const {
    return row * total_channels + level.first_channel + channel;
  }
};

/// One value of a hypercolumn; `index` runs over rows x channels of the level.
template <typename Dtype>
struct GatherHypercolumn {
  HypercolumnIndexing<Dtype> at;
  const Dtype* features;
  Dtype* hypercolumns;

  AUTOCOLOR_HOST_DEVICE void operator()(int64_t index) const {
    const int64_t row = index / at.level.channels;
    const int channel = index % at.level.channels;
    const Dtype* map = features + at.map(at.rows.image(row), channel);
    hypercolumns[at.column(row, channel)] =
        static_cast<Dtype>(at.level.multiplier) * Gather(at.cells[row], map);
  }
};

/// The gradient of one value of a hypercolumn, added to the four nearest cells through `add`, which
/// has to be atomic, since locations may share cells. `index` runs over rows x channels.
template <typename Dtype, typename AtomicAdd>
struct ScatterHypercolumn {
  HypercolumnIndexing<Dtype> at;
  const Dtype* hypercolumn_diff;
  Dtype* features_diff;
  AtomicAdd add;

  AUTOCOLOR_HOST_DEVICE void operator()(int64_t index) const {
    const int64_t row = index / at.level.channels;
    const int channel = index % at.level.channels;
    Scatter(at.cells[row],
            static_cast<Dtype>(at.level.multiplier) * hypercolumn_diff[at.column(row, channel)],
            features_diff + at.map(at.rows.image(row), channel), add);
  }
};

/// A run of at most `size` channels of one image. `index` runs over images x blocks. Whoever
/// handles an index owns its maps, so that nothing is shared and the order of the sums is fixed.
template <typename Dtype>
struct HypercolumnBlock {
  HypercolumnIndexing<Dtype> at;
  int size;

  AUTOCOLOR_HOST_DEVICE int blocks() const { return (at.level.channels + size - 1) / size; }
  AUTOCOLOR_HOST_DEVICE int64_t image(int64_t index) const { return index / blocks(); }
  AUTOCOLOR_HOST_DEVICE int first(int64_t index) const {
    return static_cast<int>(index % blocks()) * size;
  }
  AUTOCOLOR_HOST_DEVICE int count(int64_t index) const {
    const int rest = at.level.channels - first(index);
    return rest < size ? rest : size;
  }
  /// The places of the image's rows.
  AUTOCOLOR_HOST_DEVICE int64_t begin(int64_t index) const { return at.rows.begin(image(index)); }
  AUTOCOLOR_HOST_DEVICE int64_t end(int64_t index) const { return at.rows.end(image(index)); }
  /// Offset of the block's maps in the features.
  AUTOCOLOR_HOST_DEVICE int64_t maps(int64_t index) const {
    return at.map(image(index), first(index));
  }
};

/// The gradient of some channels of one image; overwrites their maps, or adds to them.
template <typename Dtype>
struct ScatterHypercolumnBlock {
  HypercolumnBlock<Dtype> block;
  const Dtype* hypercolumn_diff;
  Dtype* features_diff;
  bool accumulates;

  AUTOCOLOR_HOST_DEVICE void operator()(int64_t index) const {
    const HypercolumnIndexing<Dtype> at = block.at;
    const int64_t end = block.end(index), plane = at.level.plane();
    const int first = block.first(index), count = block.count(index);
    const Dtype multiplier = static_cast<Dtype>(at.level.multiplier);
    Dtype* maps = features_diff + block.maps(index);
    for (int64_t i = 0; i < count * plane && !accumulates; ++i) {
      maps[i] = 0;
    }
    for (int64_t place = block.begin(index); place < end; ++place) {
      const int64_t row = at.rows.row(place);
      const BilinearCell<Dtype> cell = at.cells[row];  // a copy: nothing written aliases it
      const Dtype* in = hypercolumn_diff + at.column(row, first);
      for (int c = 0; c < count; ++c) {
        Scatter(cell, multiplier * in[c], maps + c * plane, PlainAdd());
      }
    }
  }
};

}  // namespace caffe

#endif  // CAFFE_UTIL_HYPERCOLUMN_HPP_
