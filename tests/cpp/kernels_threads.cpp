// Runs every kernel body over all its indices from several threads, neighbouring indices on
// different threads and the scatter with real atomics, as CUDA would, and compares with one thread.
// Built under ThreadSanitizer, AddressSanitizer and UndefinedBehaviorSanitizer by
// `tools/test.sh --sanitize`; needs nothing of Caffe.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "caffe/util/bilinear_cpu.hpp"
#include "caffe/util/color_conversion.hpp"
#include "caffe/util/color_histogram.hpp"
#include "caffe/util/hypercolumn.hpp"
#include "caffe/util/hypercolumn_cpu.hpp"
#include "caffe/util/softmax_divergence.hpp"

namespace {

using namespace caffe;  // NOLINT(build/namespaces)

int failures = 0;

void Expect(bool condition, const char* what) {
  std::printf("%-60s %s\n", what, condition ? "ok" : "WRONG");
  failures += !condition;
}

// Compare-and-swap addition, which is how atomicAdd works where the hardware has none.
struct HostAtomicAdd {
  template <typename Dtype, typename Bits>
  static void Add(Dtype* cell, Dtype value) {
    Bits* bits = reinterpret_cast<Bits*>(cell);
    Bits expected = __atomic_load_n(bits, __ATOMIC_RELAXED), desired;
    do {
      Dtype sum;
      std::memcpy(&sum, &expected, sizeof sum);
      sum += value;
      std::memcpy(&desired, &sum, sizeof desired);
    } while (!__atomic_compare_exchange_n(bits, &expected, desired, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
  }
  void operator()(float* cell, float value) const { Add<float, uint32_t>(cell, value); }
  void operator()(double* cell, double value) const { Add<double, uint64_t>(cell, value); }
};

// Each thread has a copy of the kernel, as in ParallelFor.
template <typename Kernel>
void RunOnThreads(const Kernel& kernel, int64_t count) {
  const int threads = 4;
  std::vector<std::thread> pool;
  for (int t = 0; t < threads; ++t) {
    pool.emplace_back([own = kernel, count, t]() mutable {
      for (int64_t i = t; i < count; i += threads) own(i);
    });
  }
  for (std::thread& thread : pool) thread.join();
}

template <typename Kernel>
void RunSerially(const Kernel& kernel, int64_t count) {
  for (int64_t i = 0; i < count; ++i) kernel(i);
}

template <typename Dtype>
std::vector<Dtype> Normal(size_t count) {
  static std::mt19937 generator(1);
  std::normal_distribution<double> normal;
  std::vector<Dtype> values(count);
  for (Dtype& value : values) value = static_cast<Dtype>(normal(generator));
  return values;
}

template <typename Dtype>
double Dot(const std::vector<Dtype>& a, const std::vector<Dtype>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

template <typename Dtype>
double Difference(const std::vector<Dtype>& a, const std::vector<Dtype>& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max<double>(worst, std::abs(a[i] - b[i]));
  return worst;
}

// Sums of some thousand terms of order one, in another order.
template <typename Dtype>
double Tolerance() {
  return sizeof(Dtype) == 4 ? 2e-2 : 1e-9;
}

template <typename Dtype>
void CheckHypercolumn(int height, int width, double scale, const std::vector<double>& at) {
  const int images = 3, channels = 147;  // whole blocks and a part of one, odd
  const int per_image = static_cast<int>(at.size()) / 2 / images;
  const int rows = images * per_image;
  const HypercolumnLevel level = {channels,        height, width, scale, (scale - 1) / 2,
                                  (scale - 1) / 2, 0.5,    1,     false};
  const int total = channels + 2;  // other levels lie before and after
  const int64_t count = static_cast<int64_t>(rows) * channels;
  const std::vector<Dtype> locations(at.begin(), at.end());
  const std::vector<Dtype> features = Normal<Dtype>(images * channels * height * width);
  const std::vector<Dtype> diff = Normal<Dtype>(static_cast<size_t>(rows) * total);

  std::vector<BilinearCell<Dtype> > cells(rows);
  RunOnThreads(LocateCells<Dtype>{level, {locations.data(), 2}, cells.data()}, rows);
  const ImageRows by_image = {per_image, nullptr, nullptr, nullptr};
  const HypercolumnIndexing<Dtype> indexing = {level, by_image, total, cells.data()};
  std::vector<Dtype> columns(diff.size());
  RunOnThreads(GatherHypercolumn<Dtype>{indexing, features.data(), columns.data()}, count);
  // One value further on, so that nothing is aligned, and 9 around to see that they stay.
  const HypercolumnBlock<Dtype> block = {indexing, HypercolumnBlockSize(level.plane(), per_image)};
  std::vector<Dtype> at_odd(features.size() + 1, 9), block_columns(diff.size() + 1);
  std::copy(features.begin(), features.end(), at_odd.begin() + 1);
  RunOnThreads(GatherOnCPU<Dtype>{block, at_odd.data() + 1, &block_columns[1], {}, {}},
               images * block.blocks());
  block_columns.erase(block_columns.begin());
  Expect(columns == block_columns, "gather by values and by blocks: the same bits");

  // The same with each image's locations in the reverse order.
  std::vector<BilinearCell<Dtype> > sorted = cells;
  std::vector<int> order(rows);
  for (int row = 0; row < rows; ++row) order[row] = row;
  for (int n = 0; n < images; ++n) {
    std::reverse(order.begin() + n * per_image, order.begin() + (n + 1) * per_image);
    std::reverse(sorted.begin() + n * per_image, sorted.begin() + (n + 1) * per_image);
  }
  const HypercolumnBlock<Dtype> backwards = {
      {level, {per_image, nullptr, nullptr, order.data()}, total, sorted.data()}, block.size};
  std::vector<Dtype> sorted_columns(diff.size());
  RunOnThreads(GatherOnCPU<Dtype>{backwards, features.data(), sorted_columns.data(), {}, {}},
               images * block.blocks());
  Expect(columns == sorted_columns, "gather in another order: the same bits");

  std::vector<Dtype> parallel(features.size()), serial(features.size());
  RunOnThreads(ScatterHypercolumn<Dtype, HostAtomicAdd>{indexing, diff.data(), parallel.data(), {}},
               count);
  RunSerially(ScatterHypercolumn<Dtype, PlainAdd>{indexing, diff.data(), serial.data(), {}}, count);
  Expect(Difference(parallel, serial) < Tolerance<Dtype>(), "atomic scatter against one thread");

  std::vector<Dtype> by_block(features.size() + 2, 9), by_map(features.size(), 7);
  RunOnThreads(ScatterOnCPU<Dtype>{block, diff.data(), &by_block[1], false, {}, {}},
               images * block.blocks());
  Expect(by_block.front() == 9 && by_block.back() == 9, "scatter stays in its maps");
  by_block.erase(by_block.begin());
  by_block.pop_back();
  const HypercolumnBlock<Dtype> one = {indexing, 1};
  RunOnThreads(ScatterHypercolumnBlock<Dtype>{one, diff.data(), by_map.data(), false},
               images * channels);
  Expect(by_block == by_map && by_map == serial, "scatter by blocks and by maps: the same bits");
  std::vector<Dtype> reversed(features.size(), 7);
  RunOnThreads(ScatterOnCPU<Dtype>{backwards, diff.data(), reversed.data(), false, {}, {}},
               images * block.blocks());
  Expect(Difference(reversed, serial) < Tolerance<Dtype>(), "scatter in another order");
  Expect(std::abs(Dot(columns, diff) - Dot(features, serial)) < 10 * Tolerance<Dtype>(),
         "scatter is the adjoint of gather");

  // The same rows as (image, y, x), each image's spread over all, and a fourth image without rows.
  std::vector<Dtype> triples(3 * static_cast<size_t>(rows)), shuffled_diff(diff.size());
  std::vector<int> images_of(rows), first(images + 2), places(rows);
  const auto spread = [&](int row) { return row % per_image * images + row / per_image; };
  for (int row = 0; row < rows; ++row) {
    const int to = spread(row);
    images_of[to] = row / per_image;
    triples[3 * to] = static_cast<Dtype>(images_of[to]);
    triples[3 * to + 1] = locations[2 * row];
    triples[3 * to + 2] = locations[2 * row + 1];
    places[row] = to;
    std::copy_n(&diff[static_cast<size_t>(row) * total], total,
                &shuffled_diff[static_cast<size_t>(to) * total]);
  }
  for (int n = 0; n <= images + 1; ++n) first[n] = std::min(n, images) * per_image;
  std::vector<BilinearCell<Dtype> > triple_cells(rows);
  RunOnThreads(LocateCells<Dtype>{level, {triples.data(), 3}, triple_cells.data()}, rows);
  const ImageRows mixed = {per_image, images_of.data(), first.data(), places.data()};
  const HypercolumnIndexing<Dtype> at_rows = {level, mixed, total, triple_cells.data()};
  std::vector<Dtype> row_columns(diff.size());
  RunOnThreads(GatherHypercolumn<Dtype>{at_rows, features.data(), row_columns.data()}, count);
  bool equal = true;
  for (int row = 0; row < rows; ++row) {
    equal = equal && std::equal(&columns[static_cast<size_t>(row) * total],
                                &columns[static_cast<size_t>(row) * total] + total,
                                &row_columns[static_cast<size_t>(spread(row)) * total]);
  }
  Expect(equal, "gather at rows (image, y, x): the same bits");
  // On the CPU the cells are sorted by image.
  const HypercolumnBlock<Dtype> on_cpu = {{level, mixed, total, cells.data()}, block.size};
  std::vector<Dtype> cpu_columns(diff.size());
  RunOnThreads(GatherOnCPU<Dtype>{on_cpu, features.data(), cpu_columns.data(), {}, {}},
               images * block.blocks());
  Expect(cpu_columns == row_columns, "gather at rows by blocks: the same bits");
  const size_t map = static_cast<size_t>(channels) * height * width;
  std::vector<Dtype> cpu_diff(features.size() + map, 9), gpu_diff(cpu_diff);
  RunOnThreads(ScatterOnCPU<Dtype>{on_cpu, shuffled_diff.data(), cpu_diff.data(), false, {}, {}},
               (images + 1) * block.blocks());
  RunOnThreads(
      ScatterHypercolumnBlock<Dtype>{{at_rows, 1}, shuffled_diff.data(), gpu_diff.data(), false},
      (images + 1) * channels);
  std::vector<Dtype> expected_diff = serial;
  expected_diff.resize(serial.size() + map);  // the fourth image's is zero
  Expect(cpu_diff == expected_diff && gpu_diff == expected_diff,
         "scatter at rows (image, y, x): the same bits");
  std::vector<Dtype> atomic_diff(features.size());
  RunOnThreads(
      ScatterHypercolumn<Dtype, HostAtomicAdd>{
          at_rows, shuffled_diff.data(), atomic_diff.data(), {}},
      count);
  Expect(Difference(atomic_diff, serial) < Tolerance<Dtype>(), "atomic scatter at rows");
}

template <typename Dtype>
void CheckUpsampling(int height, int width, int output_height, int output_width, double scale,
                     int stride) {
  const int maps = 3;
  std::vector<BilinearTap> rows, columns;
  for (int j = 0; j < output_height; ++j) {
    rows.push_back(MakeBilinearTap(j * stride + (stride - 1) / 2., scale, (scale - 1) / 2, height));
  }
  for (int i = 0; i < output_width; ++i) {
    columns.push_back(
        MakeBilinearTap(i * stride + (stride - 1) / 2., scale, (scale - 1) / 2, width));
  }
  const auto ranges = [](const std::vector<BilinearTap>& taps, int size) {
    std::vector<TapRange> result(size, {static_cast<int>(taps.size()), -1});
    for (int i = 0; i < static_cast<int>(taps.size()); ++i) {
      for (int cell : {taps[i].low, taps[i].high}) {
        result[cell].first = std::min(result[cell].first, i);
        result[cell].last = i;
      }
    }
    return result;
  };
  const std::vector<TapRange> row_ranges = ranges(rows, height),
                              column_ranges = ranges(columns, width);
  const BilinearGrid grid = {height,
                             width,
                             output_height,
                             output_width,
                             rows.data(),
                             columns.data(),
                             row_ranges.data(),
                             column_ranges.data(),
                             0};
  const std::vector<Dtype> in = Normal<Dtype>(maps * height * width);
  const std::vector<Dtype> diff = Normal<Dtype>(maps * output_height * output_width);
  std::vector<Dtype> out(diff.size(), 1), in_diff(in.size(), 7);
  RunOnThreads(UpsampleValue<Dtype>{grid, in.data(), out.data(), true}, out.size());
  for (Dtype& value : out) value -= 1;  // it accumulates
  RunOnThreads(UpsampleAdjointValue<Dtype>{grid, diff.data(), in_diff.data()}, in_diff.size());
  Expect(std::abs(Dot(out, diff) - Dot(in, in_diff)) < Tolerance<Dtype>(),
         "upsampling and its adjoint");

  // The CPU's kernels, the output rows from `first` on; they overwrite.
  std::vector<Dtype> adjoint(in.size(), 7);
  RunOnThreads(UpsampleAdjointMap<Dtype>{grid, diff.data(), adjoint.data(), {}}, maps);
  Expect(Difference(adjoint, in_diff) < Tolerance<Dtype>(), "adjoint by maps and by values");
  for (const int first : {0, 1}) {
    const int taken = output_height - first;
    std::vector<Dtype> band(static_cast<size_t>(maps) * taken * output_width, 7), expected;
    for (int m = 0; m < maps; ++m) {
      const auto map = out.begin() + static_cast<size_t>(m) * output_height * output_width;
      expected.insert(expected.end(), map + static_cast<size_t>(first) * output_width,
                      map + static_cast<size_t>(output_height) * output_width);
    }
    RunOnThreads(UpsampleRow<Dtype>{grid, first, taken, in.data(), band.data(), {}}, maps * taken);
    Expect(Difference(band, expected) < Tolerance<Dtype>() / 100,
           "upsampling by rows and by values");
  }
}

template <typename Dtype>
void CheckColor() {
  const int images = 2, height = 9, width = 11, plane = height * width, per_image = 40;
  std::vector<Dtype> bgr = Normal<Dtype>(images * 3 * plane);
  for (Dtype& value : bgr) value = std::min<Dtype>(1, std::abs(value));
  std::vector<Dtype> lightness(images * plane), color(images * 2 * plane), other(color.size());
  RunOnThreads(
      SplitColor<Dtype, HueChroma<Dtype> >{plane, bgr.data(), lightness.data(), color.data()},
      images * plane);
  RunSerially(
      SplitColor<Dtype, HueChroma<Dtype> >{plane, bgr.data(), lightness.data(), other.data()},
      images * plane);
  Expect(color == other, "hue and chroma");
  RunOnThreads(
      SplitColor<Dtype, LabColor<Dtype> >{plane, bgr.data(), lightness.data(), other.data()},
      images * plane);
  RunOnThreads(
      SplitColor<Dtype, AlphaBeta<Dtype> >{plane, bgr.data(), lightness.data(), other.data()},
      images * plane);

  color[5] = std::numeric_limits<Dtype>::quiet_NaN();
  std::vector<Dtype> locations = Normal<Dtype>(images * per_image * 2);
  for (Dtype& value : locations) value *= 8;
  locations[0] = std::numeric_limits<Dtype>::quiet_NaN();
  locations[3] = std::numeric_limits<Dtype>::infinity();
  for (const bool joint : {false, true}) {
    for (const int region : {1, 4, 7, std::numeric_limits<int>::max()}) {
      const int bins = 6, cells = joint ? bins * bins : bins;
      const std::vector<Dtype> edges = {Dtype(.1), Dtype(.3), Dtype(.4), Dtype(.6), Dtype(.9)};
      std::vector<Dtype> histograms(images * per_image * cells, 5);
      // Two channels are read as one image of both, or as the images of one channel.
      RunOnThreads(WindowHistogram<Dtype>{height,
                                          width,
                                          {per_image, nullptr, nullptr, nullptr},
                                          bins,
                                          joint,
                                          region,
                                          edges.data(),
                                          color.data(),
                                          {locations.data(), 2},
                                          histograms.data()},
                   images * per_image);
      // As rows (image, y, x), the last first.
      const int rows = images * per_image;
      std::vector<Dtype> triples(3 * rows), of_rows(histograms.size(), 5);
      std::vector<int> images_of(rows);
      for (int row = 0; row < rows; ++row) {
        const int to = rows - 1 - row;
        images_of[to] = row / per_image;
        std::copy_n(&locations[2 * row], 2, &triples[3 * to + 1]);
      }
      RunOnThreads(WindowHistogram<Dtype>{height,
                                          width,
                                          {per_image, images_of.data(), nullptr, nullptr},
                                          bins,
                                          joint,
                                          region,
                                          edges.data(),
                                          color.data(),
                                          {triples.data(), 3},
                                          of_rows.data()},
                   rows);
      bool equal = true;
      for (int row = 0; row < rows; ++row) {
        equal = equal && std::equal(&histograms[row * cells], &histograms[row * cells] + cells,
                                    &of_rows[(rows - 1 - row) * cells]);
      }
      Expect(equal, "histograms at rows (image, y, x)");
      double worst = 0;
      for (int row = 0; row < images * per_image; ++row) {
        double sum = 0;
        for (int k = 0; k < cells; ++k) sum += histograms[row * cells + k];
        worst = std::max(worst, sum == 0 && region == 1 ? 0 : std::abs(sum - 1));
      }
      Expect(worst < 1e-5, "histograms sum to 1");
    }
  }
}

template <typename Dtype>
void CheckDivergence() {
  const int rows = 50, bins = 32;
  const std::vector<Dtype> logits = Normal<Dtype>(rows * bins);
  std::vector<Dtype> targets(rows * bins), weights = Normal<Dtype>(rows);
  for (int m = 1; m < rows; ++m) targets[m * bins + m % bins] = 1;  // row 0 is ignored
  std::vector<Dtype> probabilities(logits.size()), sums(rows), losses(rows), diff(logits.size(), 9);
  RunOnThreads(SoftmaxDivergence<Dtype>{bins, false, logits.data(), targets.data(), weights.data(),
                                        probabilities.data(), sums.data(), losses.data()},
               rows);
  RunOnThreads(SoftmaxDivergenceGradient<Dtype>{bins, Dtype(0.5), targets.data(), weights.data(),
                                                probabilities.data(), sums.data(), diff.data()},
               rows * bins);
  double worst = std::abs(losses[0]);
  for (int m = 0; m < rows; ++m) {
    double sum = 0;
    for (int k = 0; k < bins; ++k) sum += diff[m * bins + k];
    worst = std::max(worst, std::abs(sum));
  }
  Expect(worst < 1e-5, "gradients of each row sum to 0");
}

template <typename Dtype>
void CheckAll() {
  std::mt19937 generator(2);
  std::uniform_real_distribution<double> anywhere(-5, 70);
  std::vector<double> spread(3 * 2 * 200), colliding(3 * 2 * 200, 7.3);
  for (double& value : spread) value = anywhere(generator);
  spread[0] = std::numeric_limits<double>::quiet_NaN();
  spread[3] = std::numeric_limits<double>::infinity();
  spread[4] = -std::numeric_limits<float>::max();
  CheckHypercolumn<Dtype>(16, 12, 4, spread);
  CheckHypercolumn<Dtype>(16, 12, 4, colliding);
  CheckHypercolumn<Dtype>(37, 31, 2, spread);  // not small maps
  CheckHypercolumn<Dtype>(37, 31, 2, colliding);
  CheckHypercolumn<Dtype>(1, 1, 32, spread);
  CheckHypercolumn<Dtype>(1, 9, 8, spread);
  CheckUpsampling<Dtype>(5, 4, 20, 16, 4, 1);
  CheckUpsampling<Dtype>(16, 12, 4, 3, 1, 4);
  CheckUpsampling<Dtype>(1, 1, 7, 9, 32, 1);
  CheckUpsampling<Dtype>(9, 7, 5, 4, 1, 2);
  CheckColor<Dtype>();
  CheckDivergence<Dtype>();
}

}  // namespace

int main() {
  std::printf("-- float\n");
  CheckAll<float>();
  std::printf("-- double\n");
  CheckAll<double>();
  std::printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
