#ifndef CAFFE_UTIL_PARALLEL_FOR_HPP_
#define CAFFE_UTIL_PARALLEL_FOR_HPP_

#include <cstdint>

namespace caffe {

/// Calls `kernel(i)` for i in [0, count) from all OpenMP threads.
template <typename Kernel>
void ParallelFor(int64_t count, const Kernel& kernel) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; ++i) {
    kernel(i);
  }
}

/// The same for indices that take long and unequal times.
template <typename Kernel>
void ParallelForDynamic(int64_t count, const Kernel& kernel) {
#pragma omp parallel for schedule(dynamic, 2)
  for (int64_t i = 0; i < count; ++i) {
    kernel(i);
  }
}

}  // namespace caffe

#endif  // CAFFE_UTIL_PARALLEL_FOR_HPP_
