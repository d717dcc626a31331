// Runs the gather and the atomic scatter of hypercolumns over all their indices from several
// threads, as CUDA would, with locations that collide. Built under ThreadSanitizer and
// AddressSanitizer by tools/test.sh; needs nothing of Caffe.

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "caffe/util/hypercolumn.hpp"

namespace {

using caffe::GatherHypercolumn;
using caffe::HypercolumnIndexing;
using caffe::HypercolumnLevel;
using caffe::PlainAdd;
using caffe::ScatterHypercolumn;

// Compare-and-swap addition, which is how atomicAdd works where the hardware has none.
struct HostAtomicAdd {
  void operator()(double* cell, double value) const {
    auto* bits = reinterpret_cast<unsigned long long*>(cell);
    unsigned long long expected = __atomic_load_n(bits, __ATOMIC_RELAXED);
    while (true) {
      double sum;
      std::memcpy(&sum, &expected, sizeof sum);
      sum += value;
      unsigned long long desired;
      std::memcpy(&desired, &sum, sizeof desired);
      if (__atomic_compare_exchange_n(bits, &expected, desired, false, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED)) {
        return;
      }
    }
  }
};

template <typename Kernel>
void RunOnThreads(const Kernel& kernel, long count, int threads) {
  std::vector<std::thread> pool;
  for (int t = 0; t < threads; ++t) {
    pool.emplace_back([&kernel, count, threads, t] {
      for (long i = t; i < count; i += threads) kernel(i);  // neighbours on different threads
    });
  }
  for (std::thread& thread : pool) thread.join();
}

int Check(int height, int width, double scale, const std::vector<double>& locations) {
  const int images = 2, channels = 3, threads = 4;
  const int per_image = static_cast<int>(locations.size()) / 2 / images;
  const HypercolumnLevel level = {channels, height,           width, scale,
                                  (scale - 1) / 2, (scale - 1) / 2, 0.5,   1};
  const int total = channels + 2;  // other levels lie before and after
  const long count = static_cast<long>(images) * per_image * channels;
  std::mt19937 generator(1);
  std::normal_distribution<double> normal;
  std::vector<double> features(images * channels * height * width);
  std::vector<double> columns(images * per_image * total), diff(columns.size());
  for (double& value : features) value = normal(generator);
  for (double& value : diff) value = normal(generator);

  const HypercolumnIndexing<double> indexing = {level, per_image, total, locations.data()};
  const GatherHypercolumn<double> gather = {indexing, features.data(), columns.data()};
  RunOnThreads(gather, count, threads);
  std::vector<double> parallel(features.size()), serial(features.size());
  const ScatterHypercolumn<double, HostAtomicAdd> atomic = {
      indexing, diff.data(), parallel.data(), {}};
  RunOnThreads(atomic, count, threads);
  const ScatterHypercolumn<double, PlainAdd> plain = {
      indexing, diff.data(), serial.data(), {}};
  for (long i = 0; i < count; ++i) plain(i);

  double worst = 0, forward = 0, backward = 0;
  for (size_t i = 0; i < features.size(); ++i) {
    worst = std::max(worst, std::abs(parallel[i] - serial[i]));
    backward += features[i] * serial[i];
  }
  for (size_t i = 0; i < columns.size(); ++i) forward += columns[i] * diff[i];
  // Sums of some thousand terms of order one, in another order.
  const bool same = worst < 1e-10 && std::abs(forward - backward) < 1e-9;
  std::printf("%d x %d at scale %g: scatter differs by %.1e, adjoint by %.1e: %s\n", height, width,
              scale, worst, std::abs(forward - backward), same ? "ok" : "WRONG");
  return same ? 0 : 1;
}

}  // namespace

int main() {
  std::mt19937 generator(2);
  std::uniform_real_distribution<double> anywhere(-5, 70);
  std::vector<double> spread(2 * 2 * 500), colliding(2 * 2 * 500, 7.3);
  for (double& value : spread) value = anywhere(generator);
  spread[0] = std::numeric_limits<double>::quiet_NaN();
  spread[3] = std::numeric_limits<double>::infinity();
  spread[4] = -1e300;
  int failures = 0;
  failures += Check(16, 12, 4, spread);
  failures += Check(16, 12, 4, colliding);
  failures += Check(1, 1, 32, spread);
  failures += Check(1, 9, 8, spread);
  return failures == 0 ? 0 : 1;
}
