#ifndef CAFFE_UTIL_BILINEAR_HPP_
#define CAFFE_UTIL_BILINEAR_HPP_

#include <cmath>
#include <cstdint>

#include "caffe/util/host_device.hpp"

namespace caffe {

/// The nearest pixel along one axis, clamped to the image; NaN takes the first branch.
template <typename Dtype>
AUTOCOLOR_HOST_DEVICE inline int NearestPixel(Dtype coordinate, int size) {
  const Dtype rounded = std::floor(coordinate + Dtype(0.5));
  if (!(rounded > 0)) {
    return 0;
  }
  return rounded < size - 1 ? static_cast<int>(rounded) : size - 1;
}

/// Where an input coordinate falls along one axis of a feature map: between cells `low` and `high`
/// (equal at the border), at the fraction `fraction` of the way.
struct BilinearTap {
  int low;
  int high;
  double fraction;
};

/**
 * @brief Map an input coordinate to a feature map's axis, clamped exactly to [0, size - 1].
 *
 * The comparisons are written so that NaN takes the first branch and lands on cell 0. A map of one
 * cell is ordinary input. Computed in double: a float cannot tell cells apart near 2^24 / scale.
 */
AUTOCOLOR_HOST_DEVICE inline BilinearTap MakeBilinearTap(double coordinate, double scale,
                                                         double offset, int size) {
  const double position = (coordinate - offset) / scale;
  const double last = size - 1;
  BilinearTap tap;
  if (!(position > 0)) {
    tap.low = 0;
    tap.fraction = 0;
  } else if (!(position < last)) {
    tap.low = size - 1;
    tap.fraction = 0;
  } else {
    tap.low = static_cast<int>(position);
    tap.fraction = position - tap.low;
  }
  tap.high = tap.low + 1 < size ? tap.low + 1 : tap.low;
  return tap;
}

/// The four cells of a map, as offsets into its H x W plane, and their weights, which sum to 1.
template <typename Dtype>
struct BilinearCell {
  int offset[4];
  Dtype weight[4];
};

template <typename Dtype>
AUTOCOLOR_HOST_DEVICE inline BilinearCell<Dtype> MakeBilinearCell(const BilinearTap& y,
                                                                  const BilinearTap& x, int width) {
  BilinearCell<Dtype> cell;
  cell.offset[0] = y.low * width + x.low;
  cell.offset[1] = y.low * width + x.high;
  cell.offset[2] = y.high * width + x.low;
  cell.offset[3] = y.high * width + x.high;
  cell.weight[0] = static_cast<Dtype>((1 - y.fraction) * (1 - x.fraction));
  cell.weight[1] = static_cast<Dtype>((1 - y.fraction) * x.fraction);
  cell.weight[2] = static_cast<Dtype>(y.fraction * (1 - x.fraction));
  cell.weight[3] = static_cast<Dtype>(y.fraction * x.fraction);
  return cell;
}

template <typename Dtype>
AUTOCOLOR_HOST_DEVICE inline Dtype Gather(const BilinearCell<Dtype>& cell, const Dtype* map) {
  return cell.weight[0] * map[cell.offset[0]] + cell.weight[1] * map[cell.offset[1]] +
         cell.weight[2] * map[cell.offset[2]] + cell.weight[3] * map[cell.offset[3]];
}

/// The adjoint of Gather. `add(Dtype* cell, Dtype value)` is an atomic addition wherever several
/// threads may write to one map, and a plain one where a map belongs to one thread.
template <typename Dtype, typename Add>
AUTOCOLOR_HOST_DEVICE inline void Scatter(const BilinearCell<Dtype>& cell, Dtype value, Dtype* map,
                                          Add add) {
  for (int k = 0; k < 4; ++k) {
    add(map + cell.offset[k], cell.weight[k] * value);
  }
}

struct PlainAdd {
  template <typename Dtype>
  AUTOCOLOR_HOST_DEVICE void operator()(Dtype* cell, Dtype value) const {
    *cell += value;
  }
};

/// Consecutive outputs of a grid that read one cell, along one axis; none if last < first.
struct TapRange {
  int first;
  int last;
};

/// A grid of H' x W' outputs over maps of `height` x `width` cells: a tap for each output row and
/// column and, for the adjoint, the outputs that read each row and column of cells.
struct BilinearGrid {
  int height;
  int width;
  int output_height;
  int output_width;
  const BilinearTap* rows;        // output_height
  const BilinearTap* columns;     // output_width
  const TapRange* row_ranges;     // height
  const TapRange* column_ranges;  // width
  int first_row;                  // of the map, where the maps in memory hold `height` rows of it
};

/// One output value of the interpolation of (maps, H, W) to (maps, H', W'); `index` runs over the
/// outputs.
template <typename Dtype>
struct UpsampleValue {
  BilinearGrid grid;
  const Dtype* in;
  Dtype* out;
  bool accumulate;

  AUTOCOLOR_HOST_DEVICE void operator()(int64_t index) const {
    const int64_t line = index / grid.output_width;
    BilinearTap row = grid.rows[line % grid.output_height];
    row.low -= grid.first_row;
    row.high -= grid.first_row;
    const BilinearTap& column = grid.columns[index % grid.output_width];
    const Dtype* map = in + line / grid.output_height * grid.height * grid.width;
    const Dtype value = Gather(MakeBilinearCell<Dtype>(row, column, grid.width), map);
    out[index] = accumulate ? out[index] + value : value;
  }
};

/// One value of the adjoint of the interpolation: a cell collects what it gave, so that no two
/// indices write to one place. `index` runs over the cells of all maps.
template <typename Dtype>
struct UpsampleAdjointValue {
  BilinearGrid grid;
  const Dtype* out;
  Dtype* in;

  AUTOCOLOR_HOST_DEVICE static double Weight(const BilinearTap& tap, int cell) {
    return (tap.low == cell ? 1 - tap.fraction : 0) + (tap.high == cell ? tap.fraction : 0);
  }

  AUTOCOLOR_HOST_DEVICE void operator()(int64_t index) const {
    const int x = index % grid.width;
    const int y = index / grid.width % grid.height;
    const int64_t map = index / grid.width / grid.height;
    const TapRange rows = grid.row_ranges[y], columns = grid.column_ranges[x];
    Dtype sum = 0;
    for (int j = rows.first; j <= rows.last; ++j) {
      const Dtype* line = out + (map * grid.output_height + j) * grid.output_width;
      Dtype blended = 0;
      for (int i = columns.first; i <= columns.last; ++i) {
        blended += static_cast<Dtype>(Weight(grid.columns[i], x)) * line[i];
      }
      sum += static_cast<Dtype>(Weight(grid.rows[j], y)) * blended;
    }
    in[index] = sum;
  }
};

}  // namespace caffe

#endif  // CAFFE_UTIL_BILINEAR_HPP_
