#include <vector>

#include "caffe/layers/sparse_hypercolumn_layer.hpp"
#include "caffe/util/math_functions.hpp"
#include "caffe/util/parallel_for.cuh"

namespace caffe {

// Neighbouring threads take neighbouring channels, so that hypercolumns are read and written
// coalesced. Their maps lie a plane apart and their reads cannot coalesce whatever the order, since
// locations are random; the coarse levels, which hold most channels, fit the second-level cache and
// serve the other locations from there.

template <typename Dtype>
void SparseHypercolumnLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                                                const vector<Blob<Dtype>*>& top) {
  rows_.Read(*bottom[0], this->layer_param_.name());
  const int64_t count = rows_.count();
  const ImageRows rows = rows_.template Rows<OnGPU>();
  BilinearCell<Dtype>* cells = cells_.mutable_gpu_data();
  for (size_t l = 0; l < levels_.size(); ++l) {
    const LocateCells<Dtype> locate = {
        levels_[l], {bottom[0]->gpu_data(), rows_.columns()}, cells + l * count};
    ParallelForGPU(count, locate);
    const GatherHypercolumn<Dtype> gather = {Indexing(l, rows, cells), bottom[l + 1]->gpu_data(),
                                             top[0]->mutable_gpu_data()};
    ParallelForGPU(count * levels_[l].channels, gather);
  }
}

template <typename Dtype>
void SparseHypercolumnLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
                                                 const vector<bool>& propagate_down,
                                                 const vector<Blob<Dtype>*>& bottom) {
  RejectLocationGradient(propagate_down, 0);
  const ImageRows rows = rows_.template Rows<OnGPU>();
  for (size_t l = 0; l < levels_.size(); ++l) {
    if (!Propagates(propagate_down, l + 1)) {
      continue;
    }
    const HypercolumnIndexing<Dtype> at = Indexing(l, rows, cells_.gpu_data());
    Dtype* features_diff = bottom[l + 1]->mutable_gpu_diff();
    if (this->layer_param_.sparse_hypercolumn_param().deterministic()) {
      const HypercolumnBlock<Dtype> block = {at, 1};
      const ScatterHypercolumnBlock<Dtype> scatter = {block, top[0]->gpu_diff(), features_diff,
                                                      accumulates_};
      ParallelForGPU(static_cast<int64_t>(images_) * at.level.channels, scatter);
    } else {
      if (!accumulates_) {
        caffe_gpu_set(bottom[l + 1]->count(), Dtype(0), features_diff);
      }
      const ScatterHypercolumn<Dtype, GPUAtomicAdd> scatter = {at, top[0]->gpu_diff(),
                                                               features_diff, GPUAtomicAdd()};
      ParallelForGPU(static_cast<int64_t>(rows_.count()) * at.level.channels, scatter);
    }
  }
}

INSTANTIATE_LAYER_GPU_FUNCS(SparseHypercolumnLayer);

}  // namespace caffe
