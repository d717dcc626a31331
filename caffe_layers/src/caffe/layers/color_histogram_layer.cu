#include <vector>

#include "caffe/layers/color_histogram_layer.hpp"
#include "caffe/util/parallel_for.cuh"

namespace caffe {

// Windows lie at random places, so that there is no order in which their reads would coalesce; the
// work is small.
template <typename Dtype>
void ColorHistogramLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                                             const vector<Blob<Dtype>*>& top) {
  ForwardOn<OnGPU>(bottom, top);
}

INSTANTIATE_LAYER_GPU_FORWARD(ColorHistogramLayer);

}  // namespace caffe
