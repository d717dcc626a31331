#include "caffe/layers/color_space_layer.hpp"

#include <vector>

#include "caffe/util/parallel_for.hpp"

namespace caffe {

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
  Split<OnCPU>(*bottom[0], top);
}

template <typename Dtype>
void ColorSpaceLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>&,
                                          const vector<bool>& propagate_down,
                                          const vector<Blob<Dtype>*>&) {
  RejectGradient(*this, propagate_down, 0, "ColorSpace prepares data and has no gradient");
}

#ifdef CPU_ONLY
STUB_GPU_FORWARD(ColorSpaceLayer, Forward);
#endif

INSTANTIATE_CLASS(ColorSpaceLayer);
REGISTER_LAYER_CLASS(ColorSpace);

}  // namespace caffe
