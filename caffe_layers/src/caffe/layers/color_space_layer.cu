#include <vector>

#include "caffe/layers/color_space_layer.hpp"
#include "caffe/util/parallel_for.cuh"

namespace caffe {

// Neighbouring threads take neighbouring pixels: the channel planes are read and written coalesced.
template <typename Dtype>
void ColorSpaceLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                                         const vector<Blob<Dtype>*>& top) {
  Split<OnGPU>(*bottom[0], top);
}

INSTANTIATE_LAYER_GPU_FORWARD(ColorSpaceLayer);

}  // namespace caffe
