#include <vector>

#include "caffe/layers/softmax_kl_divergence_loss_layer.hpp"
#include "caffe/util/parallel_for.cuh"

namespace caffe {

// Forward takes a thread a row: at the paper's 32 bins of four bytes a row is one cache line, which
// its thread uses whole. The rows' losses, a few kilobytes, are summed on the host in double, where
// the loss has to go anyway: the sum does not depend on the order of threads.
template <typename Dtype>
void SoftmaxKLDivergenceLossLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                                                      const vector<Blob<Dtype>*>& top) {
  ForwardOn<OnGPU>(bottom, top);
}

// A thread a logit: reads and writes coalesce.
template <typename Dtype>
void SoftmaxKLDivergenceLossLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
                                                       const vector<bool>& propagate_down,
                                                       const vector<Blob<Dtype>*>& bottom) {
  BackwardOn<OnGPU>(top, propagate_down, bottom);
}

INSTANTIATE_LAYER_GPU_FUNCS(SoftmaxKLDivergenceLossLayer);

}  // namespace caffe
