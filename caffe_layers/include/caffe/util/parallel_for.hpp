#ifndef CAFFE_UTIL_PARALLEL_FOR_HPP_
#define CAFFE_UTIL_PARALLEL_FOR_HPP_

#include <cstdint>
#include <vector>

namespace caffe {

/// Calls `kernel(i)` for i in [0, count) from all OpenMP threads, each of which has a copy of the
/// kernel.
template <typename Kernel>
void ParallelFor(int64_t count, const Kernel& kernel) {
#pragma omp parallel
  {
    Kernel own = kernel;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < count; ++i) {
      own(i);
    }
  }
}

/// The same for several kernels whose indices take long and unequal times: a thread that is done
/// with one kernel continues with the next.
template <typename Kernel>
void ParallelForEach(const std::vector<Kernel>& kernels, const std::vector<int64_t>& counts) {
#pragma omp parallel
  for (size_t k = 0; k < kernels.size(); ++k) {
    Kernel own = kernels[k];
#pragma omp for schedule(dynamic) nowait
    for (int64_t i = 0; i < counts[k]; ++i) {
      own(i);
    }
  }
}

/// Where a layer's kernel runs, for code that is the same on both devices: the memory of blobs and
/// arrays there, and the loop. OnGPU, for .cu files, is in parallel_for.cuh.
struct OnCPU {
  template <typename Array>
  static auto Data(const Array& array) -> decltype(array.cpu_data()) {
    return array.cpu_data();
  }
  template <typename Array>
  static auto MutableData(Array* array) -> decltype(array->mutable_cpu_data()) {
    return array->mutable_cpu_data();
  }
  template <typename Array>
  static auto Diff(const Array& array) -> decltype(array.cpu_diff()) {
    return array.cpu_diff();
  }
  template <typename Array>
  static auto MutableDiff(Array* array) -> decltype(array->mutable_cpu_diff()) {
    return array->mutable_cpu_diff();
  }
  template <typename Kernel>
  static void Run(int64_t count, const Kernel& kernel) {
    ParallelFor(count, kernel);
  }
};

}  // namespace caffe

#endif  // CAFFE_UTIL_PARALLEL_FOR_HPP_
