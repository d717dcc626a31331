#include "caffe/layers/color_space_layer.hpp"

#include <vector>

#include "caffe/util/color_conversion.hpp"
#include "caffe/util/parallel_for.hpp"

namespace caffe {

namespace {

template <typename Dtype, typename Convert>
void Split(const Blob<Dtype>& images, const vector<Blob<Dtype>*>& top) {
  const int plane = images.shape(2) * images.shape(3);
  const SplitColor<Dtype, Convert> split = {plane, images.cpu_data(), top[0]->mutable_cpu_data(),
                                            top[1]->mutable_cpu_data()};
  ParallelFor(static_cast<int64_t>(images.shape(0)) * plane, split);
}

}  // namespace

template <typename Dtype>
void ColorSpaceLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
                                     const vector<Blob<Dtype>*>& top) {
  CHECK(bottom[0]->num_axes() == 4 && bottom[0]->shape(1) == 3)
      << "layer " << this->layer_param_.name() << ": image expected shape (N, 3, H, W), got "
      << bottom[0]->shape_string();
  vector<int> shape = bottom[0]->shape();
  shape[1] = 1;
  top[0]->Reshape(shape);
  shape[1] = 2;
  top[1]->Reshape(shape);
}

template <typename Dtype>
void ColorSpaceLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
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

template <typename Dtype>
void ColorSpaceLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>&,
                                          const vector<bool>& propagate_down,
                                          const vector<Blob<Dtype>*>&) {
  CHECK(!Propagates(propagate_down, 0))
      << "layer " << this->layer_param_.name()
      << ": propagate_down of the image (bottom 0) expected "
      << "false, got true: ColorSpace prepares data and has no gradient";
}

#ifdef CPU_ONLY
STUB_GPU_FORWARD(ColorSpaceLayer, Forward);
#endif

INSTANTIATE_CLASS(ColorSpaceLayer);
REGISTER_LAYER_CLASS(ColorSpace);

}  // namespace caffe
