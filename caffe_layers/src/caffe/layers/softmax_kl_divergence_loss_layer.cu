#include <vector>

#include "caffe/layers/softmax_kl_divergence_loss_layer.hpp"
#include "caffe/util/parallel_for.cuh"
#include "caffe/util/softmax_divergence.hpp"

namespace caffe {

// Forward takes a thread a row: at the paper's 32 bins of four bytes a row is one cache line, which
// its thread uses whole. The rows' losses, a few kilobytes, are summed on the host in double, where
// the loss has to go anyway: the sum does not depend on the order of threads.
template <typename Dtype>
void SoftmaxKLDivergenceLossLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                                                      const vector<Blob<Dtype>*>& top) {
  const SoftmaxDivergence<Dtype> divergence = {bottom[0]->shape(1),
                                               cross_entropy_,
                                               bottom[0]->gpu_data(),
                                               bottom[1]->gpu_data(),
                                               bottom.size() == 3 ? bottom[2]->gpu_data() : nullptr,
                                               probabilities_.mutable_gpu_data(),
                                               target_sums_.mutable_gpu_data(),
                                               losses_.mutable_gpu_data()};
  ParallelForGPU(bottom[0]->shape(0), divergence);
  Reduce(bottom, top[0]);
}

// A thread a logit: reads and writes coalesce.
template <typename Dtype>
void SoftmaxKLDivergenceLossLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
                                                       const vector<bool>& propagate_down,
                                                       const vector<Blob<Dtype>*>& bottom) {
  RefuseOtherGradients(propagate_down);
  if (!Propagates(propagate_down, 0)) {
    return;
  }
  const SoftmaxDivergenceGradient<Dtype> gradient = {
      bottom[0]->shape(1),          static_cast<Dtype>(top[0]->cpu_diff()[0] / normalizer_),
      bottom[1]->gpu_data(),        bottom.size() == 3 ? bottom[2]->gpu_data() : nullptr,
      probabilities_.gpu_data(),    target_sums_.gpu_data(),
      bottom[0]->mutable_gpu_diff()};
  ParallelForGPU(bottom[0]->count(), gradient);
}

INSTANTIATE_LAYER_GPU_FUNCS(SoftmaxKLDivergenceLossLayer);

}  // namespace caffe
