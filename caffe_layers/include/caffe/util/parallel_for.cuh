#ifndef CAFFE_UTIL_PARALLEL_FOR_CUH_
#define CAFFE_UTIL_PARALLEL_FOR_CUH_

#include <algorithm>
#include <cstdint>

#include "caffe/common.hpp"
#include "caffe/util/gpu_util.cuh"

namespace caffe {

template <typename Kernel>
__global__ void ParallelForKernel(int64_t count, Kernel kernel) {
  const int64_t step = static_cast<int64_t>(blockDim.x) * gridDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += step) {
    kernel(i);
  }
}

/// Calls `kernel(i)` for i in [0, count) on the GPU: a grid-stride loop, neighbouring indices in
/// neighbouring threads.
template <typename Kernel>
void ParallelForGPU(int64_t count, const Kernel& kernel) {
  if (count == 0) {
    return;  // a launch of no blocks is an error
  }
  const int64_t threads = CAFFE_CUDA_NUM_THREADS;
  // 65,535 blocks fill any GPU; the loop does the rest.
  const int64_t blocks = std::min<int64_t>((count + threads - 1) / threads, 65535);
  // NOLINT_NEXT_LINE(whitespace/operators)
  ParallelForKernel<<<static_cast<unsigned>(blocks), static_cast<unsigned>(threads)>>>(count,
                                                                                       kernel);
  CUDA_POST_KERNEL_CHECK;
}

/// OnCPU's counterpart.
struct OnGPU {
  template <typename Array>
  static auto Data(const Array& array) -> decltype(array.gpu_data()) {
    return array.gpu_data();
  }
  template <typename Array>
  static auto MutableData(Array* array) -> decltype(array->mutable_gpu_data()) {
    return array->mutable_gpu_data();
  }
  template <typename Array>
  static auto Diff(const Array& array) -> decltype(array.gpu_diff()) {
    return array.gpu_diff();
  }
  template <typename Array>
  static auto MutableDiff(Array* array) -> decltype(array->mutable_gpu_diff()) {
    return array->mutable_gpu_diff();
  }
  template <typename Kernel>
  static void Run(int64_t count, const Kernel& kernel) {
    ParallelForGPU(count, kernel);
  }
};

/// Caffe's atomic addition, as the functors take it.
struct GPUAtomicAdd {
  template <typename Dtype>
  __device__ void operator()(Dtype* cell, Dtype value) const {
    caffe_gpu_atomic_add(value, cell);
  }
};

}  // namespace caffe

#endif  // CAFFE_UTIL_PARALLEL_FOR_CUH_
