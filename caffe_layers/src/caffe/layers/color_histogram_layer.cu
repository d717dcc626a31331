#include <vector>

#include "caffe/layers/color_histogram_layer.hpp"
#include "caffe/util/color_histogram.hpp"
#include "caffe/util/parallel_for.cuh"

namespace caffe {

// A thread a location: it owns its histogram, so nothing is added atomically. Windows lie at random
// places, so that there is no order in which their reads would coalesce; the work is small.
template <typename Dtype>
void ColorHistogramLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                                             const vector<Blob<Dtype>*>& top) {
  const WindowHistogram<Dtype> histogram = {bottom[0]->shape(2),
                                            bottom[0]->shape(3),
                                            bottom[1]->shape(1),
                                            bins_,
                                            joint_,
                                            region_,
                                            edges_.gpu_data(),
                                            bottom[0]->gpu_data(),
                                            bottom[1]->gpu_data(),
                                            top[0]->mutable_gpu_data()};
  ParallelForGPU(top[0]->shape(0), histogram);
}

INSTANTIATE_LAYER_GPU_FORWARD(ColorHistogramLayer);

}  // namespace caffe
