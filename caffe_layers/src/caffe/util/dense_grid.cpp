#include "caffe/util/dense_grid.hpp"

#include <algorithm>
#include <vector>

namespace caffe {

namespace {

// Taps of all rows, or columns, of the grid, and those of them that read each cell of a map.
void MakeTaps(int count, int stride, double scale, double offset, int size,
              SyncedArray<BilinearTap>* taps_array, SyncedArray<TapRange>* ranges_array) {
  taps_array->Resize(count);
  ranges_array->Resize(size);
  BilinearTap* taps = taps_array->mutable_cpu_data();
  TapRange* ranges = ranges_array->mutable_cpu_data();
  for (int cell = 0; cell < size; ++cell) {
    ranges[cell] = {count, -1};
  }
  for (int i = 0; i < count; ++i) {
    taps[i] = MakeBilinearTap(i * stride + (stride - 1) / 2.0, scale, offset, size);
    for (int cell = taps[i].low; cell <= taps[i].high; ++cell) {
      ranges[cell].first = std::min(ranges[cell].first, i);
      ranges[cell].last = i;
    }
  }
}

// Whether the taps read each cell, in order, and nothing between them.
bool IsIdentity(const BilinearTap* taps, int count, int size) {
  if (count != size) {
    return false;
  }
  for (int i = 0; i < count; ++i) {
    if (taps[i].low != i || taps[i].fraction != 0) {
      return false;
    }
  }
  return true;
}

bool HaveOneGeometry(const HypercolumnLevel& a, const HypercolumnLevel& b) {
  return a.height == b.height && a.width == b.width && a.scale == b.scale &&
         a.offset_height == b.offset_height && a.offset_width == b.offset_width;
}

}  // namespace

void DenseGrid::Reshape(const std::vector<HypercolumnLevel>& levels, int num_output, int height,
                        int width, int stride) {
  levels_ = levels;
  num_output_ = num_output;
  height_ = height;
  width_ = width;
  taps_.resize(levels.size());
  for (size_t l = 0; l < levels.size(); ++l) {
    const HypercolumnLevel& level = levels[l];
    LevelTaps& taps = taps_[l];
    const std::vector<double> geometry = {static_cast<double>(level.height),
                                          static_cast<double>(level.width),
                                          level.scale,
                                          level.offset_height,
                                          level.offset_width,
                                          double(height),
                                          static_cast<double>(width),
                                          static_cast<double>(stride)};
    if (taps.geometry != geometry) {
      taps.geometry = geometry;
      MakeTaps(height, stride, level.scale, level.offset_height, level.height, &taps.rows,
               &taps.row_ranges);
      MakeTaps(width, stride, level.scale, level.offset_width, level.width, &taps.columns,
               &taps.column_ranges);
    }
    taps.path = PathOf(l);
  }
  MakeGroups();
}

DenseGrid::Path DenseGrid::PathOf(size_t level) const {
  const HypercolumnLevel& maps = levels_[level];
  if (IsIdentity(taps_[level].rows.cpu_data(), height_, maps.height) &&
      IsIdentity(taps_[level].columns.cpu_data(), width_, maps.width)) {
    return kAsIs;
  }
  // Multiply-adds of the product and, four for each value, of the interpolation.
  const double in = maps.plane(), out = double(height_) * width_;
  const double product = double(num_output_) * maps.channels;
  return product * in + 4.0 * num_output_ * out < product * out + 4.0 * maps.channels * out
             ? kProjectFirst
             : kSampleFirst;
}

void DenseGrid::MakeGroups() {
  groups_.clear();
  for (size_t l = 0; l < levels_.size(); ++l) {
    if (!ProjectsFirst(l)) {
      continue;
    }
    const auto alike =
        std::find_if(groups_.begin(), groups_.end(), [&](const std::vector<size_t>& group) {
          return HaveOneGeometry(levels_[group[0]], levels_[l]);
        });
    if (alike == groups_.end()) {
      groups_.push_back({l});
    } else {
      alike->push_back(l);
    }
  }
}

double DenseGrid::workspace(int band_rows) const {
  double size = 1;
  for (int first = 0; first < height_; first += band_rows) {
    const int rows = std::min(band_rows, height_ - first);
    for (size_t l = 0; l < levels_.size(); ++l) {
      if (ProjectsFirst(l)) {
        const TapRange cells = CellRows(l, first, rows);
        size =
            std::max(size, double(num_output_) * (cells.last - cells.first + 1) * levels_[l].width);
      } else if (SamplesFirst(l)) {
        size = std::max(size, double(levels_[l].channels) * rows * width_);
      }
    }
  }
  return size;
}

}  // namespace caffe
