#ifndef CAFFE_UTIL_SYNCED_ARRAY_HPP_
#define CAFFE_UTIL_SYNCED_ARRAY_HPP_

#include <algorithm>

#include "caffe/common.hpp"
#include "caffe/syncedmem.hpp"

namespace caffe {

/// An array of plain structures that is kept equal on the host and on the device, as Blob is for
/// numbers.
template <typename Value>
class SyncedArray {
 public:
  /// The contents are lost when the size changes.
  void Resize(size_t count) {
    const size_t bytes = std::max<size_t>(count, 1) * sizeof(Value);  // CUDA has no empty memory
    if (!memory_ || memory_->size() != bytes) {
      memory_.reset(new SyncedMemory(bytes));
    }
  }
  Value* mutable_cpu_data() { return static_cast<Value*>(memory_->mutable_cpu_data()); }
  const Value* cpu_data() const { return static_cast<const Value*>(memory_->cpu_data()); }
#ifndef CPU_ONLY
  Value* mutable_gpu_data() { return static_cast<Value*>(memory_->mutable_gpu_data()); }
  const Value* gpu_data() const { return static_cast<const Value*>(memory_->gpu_data()); }
#endif

 private:
  shared_ptr<SyncedMemory> memory_;
};

}  // namespace caffe

#endif  // CAFFE_UTIL_SYNCED_ARRAY_HPP_
