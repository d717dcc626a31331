#ifndef CAFFE_UTIL_HYPERCOLUMN_CPU_HPP_
#define CAFFE_UTIL_HYPERCOLUMN_CPU_HPP_

#include <algorithm>
#include <vector>

#include "caffe/util/hypercolumn.hpp"
#include "caffe/util/stream_copy.hpp"

namespace caffe {

// How the CPU traverses hypercolumns. The time goes into memory, not into arithmetic, so that
//  - a block of channels is read at one location after the other, whose cache misses overlap;
//  - results leave through a buffer in the cache, in long runs and past the caches;
//  - small maps, which many locations share, are transposed first: the channels of a cell then lie
//    side by side, and the compiler takes several at a time.
// Each value is the sum of the same products in the same order as in GatherHypercolumn and
// ScatterHypercolumnBlock over the cells as they stand, whatever the number of threads. The cells
// are sorted by image and, within one, in any order: `at.rows.order` has the row of each.

/// Channels that are read at a time: a cache line of floats.
const int kHypercolumnLanes = 16;

/// Whether transposing the maps of a level costs less than it saves: it moves each cell once, where
/// otherwise four cells are read or written for each location.
inline bool AreSmallMaps(int plane, int locations) {
  const int max_cells = 512;  // cells of a block of kHypercolumnLanes maps in the first-level cache
  return plane <= max_cells && plane <= 2 * locations;
}

/// Channels of a block: of small maps as many as fit the first-level cache.
inline int HypercolumnBlockSize(int plane, int locations) {
  const int values = 8192;
  return AreSmallMaps(plane, locations) ? values / plane / kHypercolumnLanes * kHypercolumnLanes
                                        : 8 * kHypercolumnLanes;
}

/// The hypercolumns of one image in some channels; `index` runs over the blocks. Each thread has a
/// copy of its own.
template <typename Dtype>
struct GatherOnCPU {
  HypercolumnBlock<Dtype> block;
  const Dtype* features;
  Dtype* hypercolumns;
  std::vector<Dtype> buffer, transposed;

  void operator()(int64_t index) {
    const HypercolumnIndexing<Dtype>& at = block.at;
    const int count = block.count(index), plane = at.level.plane();
    const Dtype* maps = features + block.maps(index);
    const int64_t begin = block.begin(index);
    const int locations = static_cast<int>(block.end(index) - begin);
    const BilinearCell<Dtype>* cells = at.cells + begin;
    Dtype* out = hypercolumns + at.column(0, block.first(index));
    const bool small = AreSmallMaps(plane, at.rows.per_image);
    if (small && locations > 0) {
      Transpose(maps, count);
    }
    const int rows = 128;  // at a time
    buffer.resize(static_cast<size_t>(rows) * count);
    for (int first = 0; first < locations; first += rows) {
      const int last = std::min(first + rows, locations);
      if (small) {
        GatherTransposed(cells + first, last - first, count);
      } else {
        GatherLanes(maps, cells + first, last - first, count);
      }
      for (int p = first; p < last; ++p) {
        StreamCopy(&buffer[static_cast<size_t>(p - first) * count], count,
                   out + at.rows.row(begin + p) * at.total_channels);
      }
    }
    StreamFence();
  }

  // (count, plane) to (plane, count)
  void Transpose(const Dtype* maps, int count) {
    const int plane = block.at.level.plane();
    for (int i = 0; i < plane * count; i += kHypercolumnLanes) {
      __builtin_prefetch(maps + i);  // in order of address, as memory is fastest
    }
    transposed.resize(static_cast<size_t>(plane) * count);
    for (int first = 0; first < count; first += kHypercolumnLanes) {
      const int last = std::min(first + kHypercolumnLanes, count);
      for (int i = 0; i < plane; ++i) {
        for (int c = first; c < last; ++c) {
          transposed[i * count + c] = maps[c * plane + i];
        }
      }
    }
  }

  void GatherTransposed(const BilinearCell<Dtype>* cells, int rows, int count) {
    const Dtype multiplier = static_cast<Dtype>(block.at.level.multiplier);
    const Dtype* from = transposed.data();
    Dtype* out = buffer.data();
    for (int p = 0; p < rows; ++p, out += count) {
      const BilinearCell<Dtype> cell = cells[p];
      const Dtype *a = from + cell.offset[0] * count, *b = from + cell.offset[1] * count,
                  *c = from + cell.offset[2] * count, *d = from + cell.offset[3] * count;
      for (int k = 0; k < count; ++k) {
        out[k] = multiplier * (cell.weight[0] * a[k] + cell.weight[1] * b[k] +
                               cell.weight[2] * c[k] + cell.weight[3] * d[k]);
      }
    }
  }

  void GatherLanes(const Dtype* maps, const BilinearCell<Dtype>* cells, int rows, int count) {
    const Dtype multiplier = static_cast<Dtype>(block.at.level.multiplier);
    const int64_t plane = block.at.level.plane();
    for (int first = 0; first < count; first += kHypercolumnLanes) {
      const int last = std::min(first + kHypercolumnLanes, count);
      Dtype* out = buffer.data();
      for (int p = 0; p < rows; ++p, out += count) {
        const BilinearCell<Dtype> cell = cells[p];  // a copy: nothing written aliases it
        // By the time that its turn comes, what it reads of all maps is there.
        const BilinearCell<Dtype>& next = cells[std::min(p + 2, rows - 1)];
        for (int c = first; c < last; ++c) {
          __builtin_prefetch(maps + c * plane + next.offset[0]);
          __builtin_prefetch(maps + c * plane + next.offset[2]);
        }
        for (int c = first; c < last; ++c) {
          out[c] = multiplier * Gather(cell, maps + c * plane);
        }
      }
    }
  }
};

/// The gradient of some channels of one image; overwrites their maps, or adds to them. `index` and
/// copies as above.
template <typename Dtype>
struct ScatterOnCPU {
  HypercolumnBlock<Dtype> block;
  const Dtype* hypercolumn_diff;
  Dtype* features_diff;
  bool accumulates;
  std::vector<Dtype> sums, diffs;  // sums is all zeros between calls

  void operator()(int64_t index) {
    const int plane = block.at.level.plane();
    if (AreSmallMaps(plane, block.at.rows.per_image)) {
      ScatterTransposed(index);
    } else {
      ScatterMaps(index);
    }
  }

  void ScatterTransposed(int64_t index) {
    const HypercolumnIndexing<Dtype>& at = block.at;
    const int count = block.count(index), plane = at.level.plane();
    const Dtype multiplier = static_cast<Dtype>(at.level.multiplier);
    const int64_t end = block.end(index);
    sums.assign(static_cast<size_t>(plane) * count, Dtype(0));
    for (int64_t place = block.begin(index); place < end; ++place) {
      const Dtype* in = hypercolumn_diff + at.column(at.rows.row(place), block.first(index));
      const BilinearCell<Dtype> cell = at.cells[place];
      for (int k = 0; k < 4; ++k) {
        Dtype* sum = sums.data() + cell.offset[k] * count;
        for (int c = 0; c < count; ++c) {
          sum[c] += cell.weight[k] * (multiplier * in[c]);
        }
      }
    }
    Dtype* maps = features_diff + block.maps(index);
    for (int first = 0; first < count; first += kHypercolumnLanes) {
      const int last = std::min(first + kHypercolumnLanes, count);
      for (int i = 0; i < plane; ++i) {
        for (int c = first; c < last; ++c) {
          const Dtype sum = sums[i * count + c];
          maps[c * plane + i] = accumulates ? maps[c * plane + i] + sum : sum;
        }
      }
    }
  }

  void ScatterMaps(int64_t index) {
    const HypercolumnIndexing<Dtype>& at = block.at;
    const int64_t begin = block.begin(index), plane = at.level.plane();
    const int count = block.count(index), rows = static_cast<int>(block.end(index) - begin);
    const Dtype multiplier = static_cast<Dtype>(at.level.multiplier);
    const BilinearCell<Dtype>* cells = at.cells + begin;
    Dtype* maps = features_diff + block.maps(index);
    sums.resize(plane);
    diffs.resize(static_cast<size_t>(kHypercolumnLanes) * rows);
    for (int first = 0; first < count; first += kHypercolumnLanes) {
      const int lanes = std::min(kHypercolumnLanes, count - first);
      for (int p = 0; p < rows; ++p) {
        const Dtype* in =
            hypercolumn_diff + at.column(at.rows.row(begin + p), block.first(index) + first);
        for (int c = 0; c < lanes; ++c) {
          diffs[static_cast<size_t>(c) * rows + p] = multiplier * in[c];
        }
      }
      for (int c = 0; c < lanes; ++c) {
        Dtype* map = maps + (first + c) * plane;
        for (int p = 0; p < rows; ++p) {
          Scatter(cells[p], diffs[static_cast<size_t>(c) * rows + p],
                  accumulates ? map : sums.data(), PlainAdd());
        }
        if (accumulates) {
          continue;
        }
        StreamCopy(sums.data(), plane, map);
        for (int p = 0; p < rows; ++p) {
          for (int k = 0; k < 4; ++k) {
            sums[cells[p].offset[k]] = 0;
          }
        }
      }
    }
    StreamFence();
  }
};

}  // namespace caffe

#endif  // CAFFE_UTIL_HYPERCOLUMN_CPU_HPP_
