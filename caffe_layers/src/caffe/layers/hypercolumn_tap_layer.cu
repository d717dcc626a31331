#include <vector>

#include "caffe/layers/hypercolumn_tap_layer.hpp"

namespace caffe {

template <typename Dtype>
void HypercolumnTapLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                                             const vector<Blob<Dtype>*>& top) {
  SparseHypercolumnLayer<Dtype>::Forward_gpu({bottom[2], bottom[1]}, {top[0]});
}

template <typename Dtype>
void HypercolumnTapLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
                                              const vector<bool>& propagate_down,
                                              const vector<Blob<Dtype>*>& bottom) {
  this->RejectLocationGradient(propagate_down, 2);
  SparseHypercolumnLayer<Dtype>::Backward_gpu({top[0]}, {false, Propagates(propagate_down, 1)},
                                              {bottom[2], bottom[1]});
}

INSTANTIATE_LAYER_GPU_FUNCS(HypercolumnTapLayer);

}  // namespace caffe
