#include "caffe/layers/color_space_layer.hpp"

#include <vector>

#include "caffe/util/color_conversion.hpp"

namespace caffe {

namespace {

template <typename Dtype, typename Convert>
void ConvertImages(const Blob<Dtype>& images, Convert convert, Dtype* lightness, Dtype* color) {
  const int plane = images.shape(2) * images.shape(3);
  const Dtype* data = images.cpu_data();
#pragma omp parallel for collapse(2)
  for (int n = 0; n < images.shape(0); ++n) {
    for (int i = 0; i < plane; ++i) {
      const size_t bgr = static_cast<size_t>(n) * 3 * plane + i;
      const size_t pair = static_cast<size_t>(n) * 2 * plane + i;
      const Dtype blue = data[bgr], green = data[bgr + plane], red = data[bgr + 2 * plane];
      const ColorPair<Dtype> converted = convert(red, green, blue);
      lightness[static_cast<size_t>(n) * plane + i] = Lightness(red, green, blue);
      color[pair] = converted.first;
      color[pair + plane] = converted.second;
    }
  }
}

}  // namespace

template <typename Dtype>
void ColorSpaceLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
                                     const vector<Blob<Dtype>*>& top) {
  CHECK(bottom[0]->num_axes() == 4 && bottom[0]->shape(1) == 3)
      << "layer " << this->layer_param_.name() << ": expected a BGR blob (N, 3, H, W), got "
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
  Dtype* lightness = top[0]->mutable_cpu_data();
  Dtype* color = top[1]->mutable_cpu_data();
  switch (this->layer_param_.color_space_param().color_space()) {
    case ColorSpaceParameter_ColorSpace_HUE_CHROMA:
      ConvertImages(*bottom[0], HueChroma<Dtype>(), lightness, color);
      break;
    case ColorSpaceParameter_ColorSpace_LAB:
      ConvertImages(*bottom[0], LabColor<Dtype>(), lightness, color);
      break;
    case ColorSpaceParameter_ColorSpace_ALPHA_BETA:
      ConvertImages(*bottom[0], AlphaBeta<Dtype>(), lightness, color);
      break;
  }
}

template <typename Dtype>
void ColorSpaceLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>&,
                                          const vector<bool>& propagate_down,
                                          const vector<Blob<Dtype>*>&) {
  CHECK(!propagate_down[0]) << "layer " << this->layer_param_.name()
                            << ": ColorSpace prepares data and has no gradient";
}

#ifdef CPU_ONLY
STUB_GPU_FORWARD(ColorSpaceLayer, Forward);
#endif

INSTANTIATE_CLASS(ColorSpaceLayer);
REGISTER_LAYER_CLASS(ColorSpace);

}  // namespace caffe
