#include <vector>

#include "caffe/layers/color_space_layer.hpp"
#include "caffe/util/color_conversion.hpp"
#include "caffe/util/parallel_for.cuh"

namespace caffe {

namespace {

// A thread a pixel: the channel planes are read and written coalesced.
template <typename Dtype, typename Convert>
void Split(const Blob<Dtype>& images, const vector<Blob<Dtype>*>& top) {
  const int plane = images.shape(2) * images.shape(3);
  const SplitColor<Dtype, Convert> split = {plane, images.gpu_data(), top[0]->mutable_gpu_data(),
                                            top[1]->mutable_gpu_data()};
  ParallelForGPU(static_cast<int64_t>(images.shape(0)) * plane, split);
}

}  // namespace

template <typename Dtype>
void ColorSpaceLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                                         const vector<Blob<Dtype>*>& top) {
  switch (this->layer_param_.color_space_param().color_space()) {
    case ColorSpaceParameter_ColorSpace_HUE_CHROMA:
      Split<Dtype, HueChroma<Dtype> >(*bottom[0], top);
      break;
    case ColorSpaceParameter_ColorSpace_LAB:
      Split<Dtype, LabColor<Dtype> >(*bottom[0], top);
      break;
    case ColorSpaceParameter_ColorSpace_ALPHA_BETA:
      Split<Dtype, AlphaBeta<Dtype> >(*bottom[0], top);
      break;
  }
}

INSTANTIATE_LAYER_GPU_FORWARD(ColorSpaceLayer);

}  // namespace caffe
