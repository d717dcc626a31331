#ifndef CAFFE_UTIL_PARALLEL_FOR_HPP_
#define CAFFE_UTIL_PARALLEL_FOR_HPP_

#include <cstdint>
#include <vector>

namespace caffe {

/// Calls `kernel(i)` for i in [0, count) from all OpenMP threads.
template <typename Kernel>
void ParallelFor(int64_t count, const Kernel& kernel) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; ++i) {
    kernel(i);
  }
}

/// The same for several kernels whose indices take long and unequal times: a thread that is done
/// with one kernel goes on with the next.
template <typename Kernel>
void ParallelForEach(const std::vector<Kernel>& kernels, const std::vector<int64_t>& counts) {
#pragma omp parallel
  for (size_t k = 0; k < kernels.size(); ++k) {
    Kernel kernel = kernels[k];  // a copy of the thread's own
#pragma omp for schedule(dynamic) nowait
    for (int64_t i = 0; i < counts[k]; ++i) {
      kernel(i);
    }
  }
}

}  // namespace caffe

#endif  // CAFFE_UTIL_PARALLEL_FOR_HPP_
