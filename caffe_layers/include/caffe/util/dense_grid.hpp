#ifndef CAFFE_UTIL_DENSE_GRID_HPP_
#define CAFFE_UTIL_DENSE_GRID_HPP_

#include <cstdint>
#include <vector>

#include "caffe/util/hypercolumn.hpp"
#include "caffe/util/synced_array.hpp"

namespace caffe {

/**
 * @brief A dense grid of cells over the levels of a hypercolumn: how each level is read there.
 *
 * Projection to the outputs of a product and interpolation commute. A level whose cells are those
 * of the grid is read as it is; of the others, each goes the way that takes fewer operations.
 */
class DenseGrid {
 public:
  /// Cell (j, i) belongs to the input pixel (j * stride + (stride - 1) / 2, i * stride + (stride -
  /// 1) / 2). Every forward pass reshapes: the taps, and their copies on the GPU, are made anew
  /// only where something has changed.
  void Reshape(const std::vector<HypercolumnLevel>& levels, int num_output, int height, int width,
               int stride);

  const std::vector<HypercolumnLevel>& levels() const { return levels_; }
  int height() const { return height_; }
  int width() const { return width_; }
  int cells() const { return height_ * width_; }

  bool IsReadAsIs(size_t level) const { return taps_[level].path == kAsIs; }
  bool ProjectsFirst(size_t level) const { return taps_[level].path == kProjectFirst; }
  bool SamplesFirst(size_t level) const { return taps_[level].path == kSampleFirst; }

  /// Levels of one geometry that are projected first, and then interpolated together.
  const std::vector<std::vector<size_t> >& groups() const { return groups_; }
  /// Values of one image's largest level, projected or sampled, in bands of rows of the grid.
  double workspace(int band_rows) const;

  template <typename Device>
  BilinearGrid Taps(size_t level) const {
    const LevelTaps& taps = taps_[level];
    return {levels_[level].height,
            levels_[level].width,
            height_,
            width_,
            Device::Data(taps.rows),
            Device::Data(taps.columns),
            Device::Data(taps.row_ranges),
            Device::Data(taps.column_ranges),
            0};
  }
  /// The taps of the grid's rows [first, first + rows), for interpolation only. Of a level that is
  /// projected first, the maps in memory are the rows of cells that they read.
  template <typename Device>
  BilinearGrid BandTaps(size_t level, int first, int rows) const {
    BilinearGrid grid = Taps<Device>(level);
    grid.rows += first;
    grid.output_height = rows;
    if (ProjectsFirst(level)) {
      const TapRange cells = CellRows(level, first, rows);
      grid.first_row = cells.first;
      grid.height = cells.last - cells.first + 1;
    }
    return grid;
  }

 private:
  enum Path : uint8_t { kAsIs, kProjectFirst, kSampleFirst };
  struct LevelTaps {
    SyncedArray<BilinearTap> rows, columns;
    SyncedArray<TapRange> row_ranges, column_ranges;
    std::vector<double> geometry;  // that they are made for
    Path path;
  };

  Path PathOf(size_t level) const;
  /// The rows of cells that rows of the grid read.
  TapRange CellRows(size_t level, int first, int rows) const {
    const BilinearTap* taps = taps_[level].rows.cpu_data() + first;
    return {taps[0].low, taps[rows - 1].high};
  }
  void MakeGroups();

  std::vector<HypercolumnLevel> levels_;
  int num_output_;
  int height_;
  int width_;
  std::vector<LevelTaps> taps_;  // of each level
  std::vector<std::vector<size_t> > groups_;
};

}  // namespace caffe

#endif  // CAFFE_UTIL_DENSE_GRID_HPP_
